"""The results as plain text."""

from collections.abc import Iterable

from der.summary.series import Summary

HEADINGS = ["step", "classes", "top-1", "top-5", "old", "new", "NME", "parameters", "exemplars"]


def results_table(summary: Summary) -> str:
    """Lay the summary out as aligned lines, accuracies in percent; "-" where there is no number."""
    rows: list[list[str]] = []
    for name, step in summary["steps"].items():
        accuracies = (step["top1"], step["top5"], step["old"], step["new"], step["nme_top1"])
        counts = [f"{count:,}" for count in (step["parameters"], step["memory_images"])]
        rows.append([str(int(name)), str(step["classes"]), *map(show, accuracies), *counts])
    averages = (summary["average_top1"], summary["average_top5"], None, None, summary["average_nme_top1"])
    lines = align([HEADINGS, *rows, ["mean", "", *map(show, averages), "", ""]])
    lines.insert(-1, lines[1])
    lines += [
        "",
        "Accuracies in percent; NME is top-1 by nearest mean of exemplars.",
        f"Average incremental accuracy: {show(summary['average_top1'])}",
        f"Last accuracy: {show(summary['last_top1'])}",
        f"Forgetting, in points: {show(summary['forgetting'])}",
    ]
    return "\n".join(lines)


def align(rows: Iterable[list[str]], sides: str = "") -> list[str]:
    """Lines in which the cells of ``rows`` stand in columns; rules under the first.

    ``sides`` has a "<" for a column whose cells stand to its left, and a ">" for others, as all are without.
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    forms = [f"{side}{width}" for side, width in zip(sides or ">" * len(widths), widths, strict=True)]
    return ["  ".join(map(format, row, forms)).rstrip() for row in rows]


def show(value: float | None) -> str:
    """A measure with two decimals; "-" for none."""
    return "-" if value is None else f"{value:.2f}"
