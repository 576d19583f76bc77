"""Which classes arrive at which step."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from der.core.errors import UserError
from der.settings.sections import ProtocolSettings


def order_classes(names: list[str], order: int | list[int | str] | str) -> list[str]:
    """The classes in the order in which they are taught.

    ``names`` in alphabetical order are permuted by numpy's RandomState(order).permutation for a seed (an
    integer or a list of integers: RandomState([1993]) and RandomState(1993) differ), kept for
    "alphabetical", or replaced by an explicit list of all names. Raises UserError for a list that does not
    hold every name once, and for whole numbers that are all the names.
    """
    if order == "alphabetical":
        return names
    if isinstance(order, list) and order and isinstance(order[0], str):
        listed = _normalize(order)
        _check_names("protocol.class_order", listed, names)
        if len(listed) != len(names):
            missing = next(name for name in names if name not in listed)
            raise UserError(f"protocol.class_order: {missing!r} is missing; list every class once")
        return listed
    if isinstance(order, list) and sorted(map(str, order)) == sorted(names):
        raise UserError(
            "protocol.class_order: whole numbers are seeds, and these are the names of all classes; put the "
            f"names in quotes, ['{order[0]}', ...]"
        )
    import numpy as np  # here: only a seed needs it, and checks should be quick

    permutation = np.random.RandomState(order).permutation(len(names))  # type: ignore[arg-type]
    return [names[index] for index in permutation]


def plan_steps(names: list[str], settings: ProtocolSettings) -> list[list[str]]:
    """Class names of every step, in label order; ``names`` are all classes in alphabetical order.

    Without explicit steps: ``first_classes``, then ``later_classes`` at a time; the last step takes what
    remains. Raises UserError for an unknown, repeated or missing class.
    """
    if settings.steps is not None:
        return _check_steps(settings.steps, names)
    ordered = order_classes(names, settings.class_order)
    first = settings.first_classes or len(names)
    if first > len(names):
        raise UserError(
            f"protocol.first_classes: {settings.first_classes}, but the data set has {len(names)} classes; "
            f"write at most {len(names)}"
        )
    starts = range(first, len(ordered), settings.later_classes)
    later = [ordered[start : start + settings.later_classes] for start in starts]
    return [ordered[:first], *later]


def _check_steps(steps: list[list[str]], names: list[str]) -> list[list[str]]:
    if not steps:
        raise UserError("protocol.steps: no step; write a list of class names for every step, or null")
    for step, classes in enumerate(steps, start=1):
        if not classes:
            raise UserError(f"protocol.steps: step {step} has no class; name at least one")
    normalized = [_normalize(step) for step in steps]
    _check_names("protocol.steps", [name for step in normalized for name in step], names)
    return normalized


def _normalize(written: Iterable[object]) -> list[str]:
    """Names in Unicode NFC, as those of the data set are; an editor may have written others."""
    return [unicodedata.normalize("NFC", str(name)) for name in written]


def _check_names(where: str, listed: list[str], names: list[str]) -> None:
    for name, count in Counter(listed).items():
        if name not in names:
            raise UserError(f"{where}: {name!r} is no class of the data set; it has {_shorten(names)}")
        if count > 1:
            raise UserError(f"{where}: {name!r} stands {count} times; name every class once")


def _shorten(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
