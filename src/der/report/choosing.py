"""Which of a class's mistakes a page shows."""

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from der.evaluation.mistakes import Mistake


def choose_mistakes(steps: Sequence[Sequence[Mistake]], most: int) -> list[int]:
    """Numbers of at most ``most`` images of one class that steps 1..T mistook, the last step's surest first.

    Taken in turn from every step, the last one first, and within a step from every pair of classes, the
    surest first. An image that several steps mistook counts for each of them.
    """
    chosen: set[int] = set()
    for turn in zip_longest(*(_in_turn(entries) for entries in reversed(steps))):
        for entry in turn:
            if entry is not None and len(chosen) < most:
                chosen.add(entry.index)
    numbers = (entry.index for entries in reversed(steps) for entry in entries)
    return [number for number in dict.fromkeys(numbers) if number in chosen]


def _in_turn(entries: Sequence[Mistake]) -> list[Mistake]:
    """The surest of every pair of classes, then the second one of each, and so on."""
    seen: Counter[str] = Counter()
    places = []
    for entry in entries:
        places.append(seen[entry.predicted])
        seen[entry.predicted] += 1
    order = sorted(range(len(entries)), key=places.__getitem__)
    return [entries[index] for index in order]
