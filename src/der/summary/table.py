"""The results as plain text."""

from der.summary.series import Summary

HEADINGS = ["step", "classes", "top-1", "top-5", "old", "new", "NME", "parameters", "exemplars"]


def results_table(summary: Summary) -> str:
    """Lay the summary out as aligned lines, accuracies in percent; "-" where there is no number."""
    rows = [HEADINGS]
    for number, step in summary["steps"].items():
        accuracies = (step["top1"], step["top5"], step["old"], step["new"], step["nme_top1"])
        counts = (step["parameters"], step["memory_images"])
        rows.append(
            [number, str(step["classes"]), *map(_show, accuracies), *(f"{count:,}" for count in counts)]
        )
    averages = (summary["average_top1"], summary["average_top5"], None, None, summary["average_nme_top1"])
    rows.append(["mean", "", *map(_show, averages), "", ""])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    rows.insert(-1, rows[1])
    lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
    lines += [
        "",
        "Accuracies in percent; NME is top-1 by nearest mean of exemplars.",
        f"Average incremental accuracy: {_show(summary['average_top1'])}",
        f"Last accuracy: {_show(summary['last_top1'])}",
        f"Forgetting, in points: {_show(summary['forgetting'])}",
    ]
    return "\n".join(lines)


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
