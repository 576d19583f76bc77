"""The results of a run as a table, what changed since the last commit, and where to look next."""

import json
import os

from der.core.errors import UserError
from der.core.files import (read_json)
from der.pipeline.dvc import (MEND)
from der.pipeline.environment import TABLE
from der.pipeline.paths import PLOTS, REPORT, SUMMARY
from der.pipeline.provenance import read_committed
from der.pipeline.shown import is_page_current
from der.pipeline.step_metrics import check_summary
from der.summary.changes import describe_changes
from der.summary.series import Summary
from der.summary.text_table import results_table

PAGE = f"A page to look at, in any browser: {REPORT}"
NO_PAGE = f"`der report` writes a page to look at, in any browser: {REPORT}"
OTHER_PAGE = f"{REPORT} shows other results; `der report` writes the page of these"
NEXT = f"""Plots: {PLOTS}/*.png, or `dvc plots show`. Everything measured: metrics/steps.
Next: `. .venv/bin/activate`, edit params.yaml, `dvc repro`, `dvc metrics diff`."""


def conclude(sentence: str) -> str:
    """What the last stage says: ``sentence``, and the results, unless they are shown later."""
    return sentence if os.environ.get(TABLE) == "later" else f"{sentence}\n{sum_up()}"


def show_results() -> str:
    """``sum_up``, and where to look next."""
    return "\n".join([sum_up() + point_to_page(), NEXT])


def point_to_page() -> str:
    """Where the page of these results is, or how it is made."""
    if not REPORT.exists():
        return NO_PAGE
    return PAGE if is_page_current() else OTHER_PAGE


def sum_up() -> str:
    """The table of metrics/summary.json, and what changed in it; raises UserError if there is none."""
    if not SUMMARY.exists():
        raise UserError(f"{SUMMARY}: no results yet; run `dvc repro`")
    try:
        summary = read_json(SUMMARY)
    except UserError as error:
        raise UserError(f"{error}; {MEND}") from None
    if not isinstance(summary, dict) or not summary.keys() >= Summary.__required_keys__:
        raise UserError(f"{SUMMARY}: no summary of steps; run `dvc repro`")
    check_summary(summary)  # type: ignore[arg-type]
    changes = list_changes(summary)  # type: ignore[arg-type]
    lines = ["", results_table(summary), ""]  # type: ignore[arg-type]
    lines += ["Since the last commit:", *(f"  {line}" for line in changes), ""] if changes else []
    return "\n".join(lines)


def list_changes(summary: Summary) -> list[str]:
    """What changed since the last commit; nothing where git has no summary that can be read."""
    try:
        return describe_changes(json.loads(read_committed(SUMMARY)), summary)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):  # of another form, or none
        return []
