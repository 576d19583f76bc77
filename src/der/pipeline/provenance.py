"""Finds the origin of a run: its preset and code, its training parameters, its commits."""

import json
import subprocess
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from der.core.errors import UserError
from der.core.files import SealedDirectory
from der.data.protocol import plan_steps
from der.model.architecture import METADATA, START
from der.pipeline import presets, project
from der.settings.experiment import Settings
from der.settings.sections import all_values, to_values
from der.summary.series import Summary

CODE = ("src", "stages", "dvc.yaml")
LOOKED_BACK = 50  # commits of results
OTHERWISE = f"trained with other parameters than {project.PARAMS} has; run `dvc repro` first"


def nearest_preset(parameters: dict[str, Any]) -> tuple[str, list[project.Change]]:
    """Find the preset that differs in the fewest ``parameters``, the first of equal ones, and these."""
    names = presets.list_presets()
    changes = {name: [*project.compare(presets.load_preset(name), parameters)] for name in names}
    nearest = min(changes, key=lambda name: len(changes[name]))
    return nearest, changes[nearest]


def shown_parameters(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return all parameters except places on the user's machine."""
    sections = all_values(settings)
    for place in presets.PLACES:
        section, _, name = place.partition(".")
        del sections[section][name]
    return sections


def check_training(last: int, settings: Settings) -> None:
    """Raise UserError unless the checkpoint after the ``last`` step was trained with ``settings``."""
    steps = check_recipes(last, settings)["steps"]
    try:
        planned = plan_steps(sorted(name for step in steps for name in step), settings.protocol)
    except UserError:  # the protocol is of other classes
        planned = []
    if steps != planned:
        raise UserError(f"{project.checkpoint(last) / METADATA}: {OTHERWISE}")


def check_recipes(last: int, settings: Settings) -> dict[str, Any]:
    """Read network.json after the ``last`` step; raises UserError if other parameters made it."""
    metadata: dict[str, Any] = SealedDirectory(project.checkpoint(last)).read_json(METADATA)
    start = SealedDirectory(project.checkpoint(0)).digests.get(START)  # the weights that step 1 started from
    weights = None if start is None else f"sha256:{start}"
    recipes = [to_values(settings.train.recipe(step)) for step in range(1, last + 1)]
    network = to_values(replace(settings.network, weights=weights))
    if [metadata.get("network"), metadata.get("recipes")] != [network, recipes]:
        raise UserError(f"{project.checkpoint(last) / METADATA}: {OTHERWISE}")
    return metadata


def last_other_summary(own: Summary) -> tuple[str, Summary] | None:
    """Find the newest committed summary with other results than ``own``, and its short revision, if any."""

    def accuracies(summary: Summary) -> list[Any]:
        return [[step["classes"], step["top1"], step["nme_top1"]] for step in summary["steps"].values()]

    log = git("log", f"--max-count={LOOKED_BACK}", "--format=%h", "--", str(project.SUMMARY))
    for revision in log.decode().split():
        summary = read_summary(revision)
        if summary is not None and accuracies(summary) != accuracies(own):
            return revision, summary
    return None


def find_commit(name: str) -> str | None:
    """Find the short revision of a commit, or of an experiment with that name; None if there is neither."""
    experiments = git("for-each-ref", "--format=%(refname)", "refs/exps").decode().split()
    for one in (name, *(ref for ref in experiments if ref.rpartition("/")[2] == name)):
        revision = git("rev-parse", "--verify", "--quiet", "--short", f"{one}^{{commit}}").decode().strip()
        if revision:
            return revision
    return None


def code_revision() -> str | None:
    """Name the commit that last changed the code, "-dirty" if it differs from that; None without git."""
    revision = git("log", "--max-count=1", "--format=%h", "--", *CODE).decode().strip()
    return revision + ("-dirty" if is_code_changed() else "") if revision else None


def is_code_changed() -> bool:
    return bool(git("status", "--porcelain", "--", *CODE))


def read_summary(revision: str) -> Summary | None:
    """Read the summary in a commit; None if it has no readable one."""
    try:
        content: Summary = json.loads(read_committed(project.SUMMARY, revision))
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.keys() >= Summary.__required_keys__ else None


def read_committed(path: Path, revision: str = "HEAD") -> bytes:
    """Read a file from a commit; empty if the commit lacks it, or without a commit or git."""
    return git("show", f"{revision}:./{path.as_posix()}")


def git(*words: str) -> bytes:
    line = ["git", "--no-optional-locks", *words]  # `git status` may write its index
    try:
        return subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return b""
