"""The results of a run as a table, and where to look next."""

from der.common.errors import UserError
from der.common.serialization import read_json
from der.project.paths import PLOTS, REPORT, SUMMARY
from der.summary.series import Summary
from der.summary.text_table import results_table

NEXT = f"""
A page to look at, in any browser: {REPORT}
Plots: {PLOTS}/*.png, or `dvc plots show`. Everything measured: metrics/steps.
Next: `. .venv/bin/activate`, edit params.yaml, `dvc repro`, `dvc metrics diff`."""


def show_results() -> str:
    """The table of metrics/summary.json; raises UserError if there is none."""
    if not SUMMARY.exists():
        raise UserError(f"{SUMMARY}: no results yet; run `dvc repro`")
    summary = read_json(SUMMARY)
    if not isinstance(summary, dict) or not summary.keys() >= Summary.__required_keys__:
        raise UserError(f"{SUMMARY}: no summary of steps; run `dvc repro`")
    return "\n" + results_table(summary) + "\n" + NEXT  # type: ignore[arg-type]
