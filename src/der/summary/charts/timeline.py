"""Where the time of a run went."""

from collections.abc import Mapping

from der.core.cost import StageTime, show_seconds
from der.summary.charts.colours import KINDS
from der.summary.charts.description import Axis, Bar, BarChart

OTHER = "other"
KIND_OF = {"train_task": "training", "build_memory": "memory", "evaluate": "evaluation"}
UNITS = ((2 * 3600.0, 3600.0, "hours"), (2 * 60.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def timeline_chart(times: Mapping[str, StageTime], steps: int) -> BarChart:
    """A row for every step, and one each for what comes before and after; stages from left to right.

    ``times`` are those of the stages that are known, in the order in which they run; those that were not
    computed by the last run are hollow.
    """
    rows = ["before", *(f"step {step}" for step in range(1, steps + 1)), "after"]
    ends = [0.0] * len(rows)
    placed: list[tuple[str, int, float, StageTime]] = []
    for stage, time in times.items():
        name, _, step = stage.partition("@")
        row = int(step) if step else (len(rows) - 1 if name == "summarize" else 0)
        placed.append((stage, row, ends[row], time))
        ends[row] += time.seconds
    _, unit, label = next(one for one in UNITS if max(ends) >= one[0])
    return BarChart(
        name="timeline",
        title="Seconds of every stage",
        axis=Axis("time", label, low=0),
        rows=tuple(rows),
        bars=tuple(_bar(stage, row, start / unit, time, unit) for stage, row, start, time in placed),
        kinds=KINDS,
    )


def _bar(stage: str, row: int, start: float, time: StageTime, unit: float) -> Bar:
    notes = [
        show_seconds(time.seconds),
        "computed by the last run" if time.computed else "taken from the cache",
    ]
    if time.runs > 1:
        notes.append(f"in {time.runs} parts")
    kind = KIND_OF.get(stage.partition("@")[0], OTHER)
    return Bar(stage, row, start, time.seconds / unit, kind, hollow=not time.computed, text=", ".join(notes))


def seconds_in_all(times: Mapping[str, StageTime]) -> tuple[float, float]:
    """Seconds of the known stages that the last run computed, and of those that it took from the cache."""
    computed = [time.seconds for time in times.values() if time.computed]
    kept = [time.seconds for time in times.values() if not time.computed]
    return sum(computed), sum(kept)
