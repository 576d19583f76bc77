"""`python -m stages.show`: the results as a table, and where to look next."""

from der.common.errors import UserError
from der.common.files import read_json
from der.summary.series import Summary
from der.summary.table import results_table
from stages.common.command import run_stage
from stages.common.paths import PLOTS, REPORT, SUMMARY

NEXT = f"""
A page to look at, in any browser: {REPORT}
Plots: {PLOTS}/*.png, or `dvc plots show`. Everything measured: metrics/steps/*.json.
Next: `. .venv/bin/activate`, edit params.yaml, `dvc repro`, `dvc metrics diff`."""


def run() -> str:
    if not SUMMARY.exists():
        raise UserError(f"{SUMMARY}: no results yet; run `dvc repro`")
    summary = read_json(SUMMARY)
    if not isinstance(summary, dict) or not summary.keys() >= Summary.__required_keys__:
        raise UserError(f"{SUMMARY}: no summary of steps; run `dvc repro`")
    return "\n" + results_table(summary) + "\n" + NEXT  # type: ignore[arg-type]


if __name__ == "__main__":
    run_stage(run)
