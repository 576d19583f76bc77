"""The run before the last edit, as far as it can be compared to."""

from der.pipeline.dvc import (count_same_steps)
from der.pipeline.paths import SUMMARY
from der.pipeline.provenance import last_other_summary
from der.summary.series import Summary
from der.summary.verdict import Reference, earlier


def read_earlier(own: Summary) -> Reference | None:
    """The newest committed results that are not ``own``, over the steps that have the same images in both.

    None where there is none such, as after another data set or protocol, and where these steps are as they
    were, as after `der add`.
    """
    committed = last_other_summary(own)
    if committed is None:
        return None
    rows = list(zip(committed.summary["steps"].values(), own["steps"].values(), strict=False))
    steps = count_same_steps(committed.revision, len(rows))
    if [row["top1"] for row, _ in rows[:steps]] == [row["top1"] for _, row in rows[:steps]]:
        return None
    source = f"{SUMMARY} of commit {committed.revision}"
    if steps == len(own["steps"]) == len(committed.summary["steps"]):
        return earlier("before the last edit", source, committed.summary)
    name = f"before the last edit, steps 1 to {steps}" if steps > 1 else "before the last edit, step 1"
    return earlier(name, f"{source}, over the steps that have the same images", committed.summary, steps)
