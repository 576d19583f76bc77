"""What git knows of the results: those that were committed before, and the revision of the code."""

import json
import subprocess
from typing import Any, NamedTuple

from der.pipeline.committed import read_committed
from der.pipeline.paths import SUMMARY
from der.summary.series import Summary

CODE = ("src", "stages", "dvc.yaml")
LOOKED_BACK = 50  # commits of results


class Committed(NamedTuple):
    """A summary that a commit holds."""

    revision: str  # short
    summary: Summary


def last_other_summary(own: Summary) -> Committed | None:
    """The newest committed summary with other results than ``own``; None where there is none, or no git.

    So the answer is the same before and after the results are committed.
    """
    for revision in git("log", f"--max-count={LOOKED_BACK}", "--format=%h", "--", str(SUMMARY)).split():
        summary = read_summary(revision)
        if summary is not None and _accuracies(summary) != _accuracies(own):
            return Committed(revision, summary)
    return None


def find_commit(name: str) -> str | None:
    """The short revision of a commit, or of an experiment of that name; None if there is neither."""
    experiments = git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    named = [ref for ref in experiments if ref.rpartition("/")[2] == name]
    for one in (name, *named):
        revision = git("rev-parse", "--verify", "--quiet", "--short", f"{one}^{{commit}}").strip()
        if revision:
            return revision
    return None


def read_summary(revision: str) -> Summary | None:
    """The summary in a commit; None if it holds none that can be read."""
    try:
        content = json.loads(read_committed(SUMMARY, revision))
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.keys() >= Summary.__required_keys__ else None  # type: ignore[return-value]


def _accuracies(summary: Summary) -> list[Any]:
    return [[step["classes"], step["top1"], step["nme_top1"]] for step in summary["steps"].values()]


def code_revision() -> str | None:
    """The commit that last changed the code, with "-dirty" if it differs from that; None without git."""
    revision = git("log", "--max-count=1", "--format=%h", "--", *CODE).strip()
    if not revision:
        return None
    return revision + ("-dirty" if git("status", "--porcelain", "--", *CODE).strip() else "")


def git(*words: str) -> str:
    """What git prints; nothing if it fails. Without locks: `git status` may write its index."""
    line = ["git", "--no-optional-locks", *words]
    try:
        return subprocess.run(line, capture_output=True, encoding="utf-8", check=True).stdout
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ""
