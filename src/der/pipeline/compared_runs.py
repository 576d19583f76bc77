"""Runs that git has, by revision or by the name of an experiment, to be compared on one page."""

from collections.abc import Sequence
from typing import Any

from der.core.errors import UserError
from der.pipeline.params import (compare, shorten, value_at)
from der.pipeline.paths import COMPARISON, PARAMS, SUMMARY
from der.pipeline.presets import PLACES
from der.pipeline.provenance import find_commit, read_committed, read_summary
from der.report.comparison import ComparedRun, write_comparison
from der.report.tables import show_bytes
from der.settings.yaml import parse_yaml
from der.summary.series import Summary


def make_comparison(names: Sequence[str]) -> str:
    """Write metrics/comparison.html of the runs of that ``names``; returns a sentence that says where.

    Raises UserError for fewer than two names, and for one of no finished run.
    """
    if len(names) < 2:
        raise UserError(f"der report: {names[0]} alone; name two or more revisions or experiments to compare")
    write_comparison(read_compared(names), COMPARISON)
    return f"report: {COMPARISON}, {show_bytes(COMPARISON.stat().st_size)}"


def read_compared(names: Sequence[str]) -> list[ComparedRun]:
    """The runs, each with the parameters in which any two of them differ, places on a machine aside."""
    found = [_read(name) for name in names]
    first = found[0][2]
    keys = {change.key: None for *_, parameters in found for change in compare(first, parameters)}
    shown = [key for key in keys if key not in PLACES]
    return [
        ComparedRun(name, revision, summary, {key: shorten(value_at(parameters, key)) for key in shown})
        for name, (revision, summary, parameters) in zip(names, found, strict=True)
    ]


def _read(name: str) -> tuple[str, Summary, Any]:
    """Short revision, summary and parameters of a run."""
    revision = find_commit(name)
    if revision is None:
        raise UserError(f"{name}: neither a revision nor an experiment; see `git log` and `dvc exp list`")
    summary = read_summary(revision)
    if summary is None:
        raise UserError(f"{name}: its commit {revision} holds no {SUMMARY} of a finished run; name another")
    return revision, summary, parse_yaml(read_committed(PARAMS, revision).decode(), PARAMS)
