"""What a run, or a sweep, would take, as text."""

from collections.abc import Sequence

from der.core.stage_time import StageTime, show_seconds
from der.pipeline.overrides import apply_row, expand_rows
from der.pipeline.plan import Identities, plan_row, read_workspace
from der.pipeline.timing import read_last
from der.summary.series import align

Times = dict[str, StageTime]


def describe_plan(overrides: Sequence[str]) -> str:
    """What `dvc repro` would run and take, or with ``overrides`` every row of a sweep, and in all.

    ``overrides`` are those of `dvc exp run -S`. Raises UserError for what no run can have.
    """
    rows = expand_rows(overrides)
    workspace = read_workspace()
    plans = [plan_row(workspace, apply_row(row), rewritten=bool(row)) for row in rows]
    times = read_last(workspace.graph)
    return describe_sweep(rows, plans, times) if overrides else describe_run(plans[0], times)


def describe_run(plan: Identities, times: Times) -> str:
    """A line for every stage that runs, and their sum."""
    if not plan:
        return "`dvc repro` would run nothing"
    lines = align([["stage", "seconds"], *([stage, _show(times.get(stage))] for stage in plan)], "<>")
    return "\n".join([f"`dvc repro` would run {_count(plan)}:", "", *lines, "", _sum([*plan], times)])


def describe_sweep(rows: Sequence[Sequence[str]], plans: Sequence[Identities], times: Times) -> str:
    """A line for every row, with what it has to itself: a stage counts for the first row that runs it."""
    seen: set[str] = set()
    cells = []
    every: list[str] = []
    for row, plan in zip(rows, plans, strict=True):
        own = [stage for stage, identity in plan.items() if identity not in seen]
        seen |= set(plan.values())
        every += own
        known = [times[stage].seconds for stage in own if stage in times]
        cells.append([" ".join(row), str(len(plan)), str(len(own)), f"{sum(known):.1f}"])
    lines = align([["settings", "stages", "of its own", "seconds"], *cells], "<>>>")
    head = f"{len(rows)} rows; a stage that two have in common runs once, and counts for the first:"
    return "\n".join([head, "", *lines, "", _sum(every, times)])


def _sum(stages: list[str], times: Times) -> str:
    known = [times[stage].seconds for stage in stages if stage in times]
    unknown = len(stages) - len(known)
    text = f"{show_seconds(sum(known))} in all, by what each took last time"
    return text + (f", and {_count(range(unknown))} of which nothing is known here" if unknown else "")


def _show(time: StageTime | None) -> str:
    return "-" if time is None else f"{time.seconds:.1f}"


def _count(stages: "Identities | range") -> str:
    return f"{len(stages)} stage{'' if len(stages) == 1 else 's'}"
