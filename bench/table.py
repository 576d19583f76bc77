"""Results as Markdown tables."""

from collections.abc import Sequence

from bench.contender import PLAIN
from bench.measure import Measured
from bench.together import Together


def format_table(rows: Sequence[Measured]) -> str:
    """A Markdown table, a line per row."""
    head = [
        "images",
        "step",
        "loop",
        "images/s",
        "s/epoch",
        "times plain",
        "peak MB",
        "bandwidth",
        "peak",
        "step ms",
    ]
    lines = [head, ["---", "---:", "---", *["---:" for _ in head[3:]]]]
    lines += [
        [
            row.case,
            str(row.step),
            row.contender,
            f"{row.images_per_second:,.0f}",
            f"{row.seconds_per_epoch:.3g}",
            f"{row.times_plain:.2f}",
            f"{row.peak_memory_mb:,.0f}",
            f"{100 * row.bandwidth_share:.1f} %",
            "" if row.arithmetic_share is None else f"{100 * row.arithmetic_share:.1f} %",
            "" if row.step_ms is None else f"{row.step_ms:.3f}",
        ]
        for row in rows
    ]
    return _join(lines)


def format_summary(rows: Sequence[Measured]) -> str:
    """A short Markdown table, as bench/results/README.md has: images per second, times the plain loop's."""
    names = list(dict.fromkeys(row.contender for row in rows))
    by_step: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        ratio = "" if row.contender == PLAIN else f" ({row.times_plain:.1f} x)"
        cells = by_step.setdefault((row.case, row.step), {})
        cells[row.contender] = f"{row.images_per_second:,.0f}{ratio}"
    lines = [["images/s", "step", *names], ["---", *["---:" for _ in ["step", *names]]]]
    for (case, step), cells in by_step.items():
        lines.append([case, str(step), *(cells.get(name, "") for name in names)])
    return _join(lines)


def format_together(rows: Sequence[Together]) -> str:
    """A Markdown table of runs at once."""
    lines = [
        ["runs at once", "case", "loop", "s", "times one after the other"],
        ["---:", "---", "---", "---:", "---:"],
    ]
    lines += [
        [str(row.runs), row.case, row.contender, f"{row.seconds:.2f}", f"{row.times_in_turn:.2f}"]
        for row in rows
    ]
    return _join(lines)


def _join(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
