"""Scripts of examples/cluster in a clone in which a kill has left DVC's and git's own files half-written."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.cluster.jobs import SCONTROL, write_programs
from tests.runs.lab import RESULTS, Pipeline, digests


@pytest.fixture
def clone(base: Pipeline, pipeline: Pipeline, tmp_path: Path) -> Pipeline:
    """All stages have run, as of a row or a chain that ``pipeline`` asks for."""
    clone = base.copy_to(tmp_path / "clone")
    lock = (clone.root / "dvc.lock").read_bytes()
    clone.succeed("git", "remote", "add", "origin", str(pipeline.root))
    clone.succeed("git", "checkout", "--quiet", "--detach", "HEAD~1")  # which has no dvc.lock
    clone.succeed("dvc", "remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
    shutil.copyfile(base.root / "metrics/summary.json", clone.root / "metrics/summary.json")
    (clone.root / "dvc.lock").write_bytes(lock[: len(lock) // 2])
    (clone.root / ".git/index.lock").touch()
    # As of a process of another node: one that has the same number is alive here.
    here = {"pid": os.getpid(), "cmd": "dvc repro"}
    busy = {str(clone.root / "data"): here, str(clone.root / "metrics"): here}
    (clone.root / ".dvc/tmp/rwlock").write_text(json.dumps({"read": {}, "write": busy}), encoding="utf-8")
    return clone


def run_script(clone: Pipeline, tmp_path: Path, script: str, *words: str) -> str:
    """Run a script on the clone's commit without a cluster; returns what it printed."""
    path = clone.environment()["PATH"]
    dvc = f'exec "{clone.python}" -m dvc "$@"'
    environment = write_programs(tmp_path / "bin", path, srun=":", dvc=dvc, scontrol=SCONTROL)
    origin = clone.succeed("git", "remote", "get-url", "origin").strip()
    head = clone.succeed("git", "rev-parse", "HEAD").strip()
    return clone.succeed(
        "bash", f"examples/cluster/{script}", origin, head, *words, str(clone.root), **environment
    )


def test_a_row_goes_on_and_computes_nothing_again(
    base: Pipeline, pipeline: Pipeline, clone: Pipeline, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.txt"
    rows.write_text("memory.budget=8\n", encoding="utf-8")  # as it is
    said = run_script(clone, tmp_path, "sweep_row.sh", str(rows), "1")
    assert "Stage 'train_task@1' is cached" in said
    assert re.findall(r"^Running stage '(.+)':$", said, re.MULTILINE) == ["report"]  # which is in no cache
    kept = [name for name in RESULTS if name.startswith("data")]
    assert digests(clone.root, kept) == digests(base.root, kept)
    assert "row-1" in pipeline.succeed("dvc", "exp", "list", "--all-commits")


def test_a_chain_commits_what_it_has_trained(pipeline: Pipeline, clone: Pipeline, tmp_path: Path) -> None:
    run_script(clone, tmp_path, "chain.slurm", "1")
    assert json.loads(clone.succeed("dvc", "status", "--json")) == {}
    assert "clone" in pipeline.succeed("dvc", "exp", "list", "--all-commits")
