"""Whether a commit's lock and summary are of one run."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.pipeline.dvc import is_recorded

PARAMETERS: dict[str, Any] = {
    "protocol": {"class_order": "alphabetical", "later_classes": 2},
    "train": {"seed": 0, "masks": None},
    "memory": {"budget": 200},
}


def commit_run(root: Path, **files: Any) -> None:
    """Commit dvc.lock and summary; ``files`` are the parameters and the summary that the lock is of."""
    parameters, summary = files.get("parameters", PARAMETERS), files.get("summary", "{}")
    hashed = hashlib.md5(summary.encode()).hexdigest()
    dependencies = [{"path": "presets", "md5": "0.dir"}, {"path": "metrics/summary.json", "md5": hashed}]
    report = {"params": {"params.yaml": parameters}, "deps": dependencies}
    lock = {"schema": "2.0", "stages": files.get("stages", {"report": report})}
    (root / "metrics").mkdir(exist_ok=True)
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    (root / "metrics/summary.json").write_text("{}")
    name = ["-c", "user.name=Tests", "-c", "user.email=tests@example.org"]
    for words in (["init", "-q"], ["add", "."], [*name, "commit", "-q", "--allow-empty", "-m", "A run"]):
        subprocess.run(["git", *words], cwd=root, check=True)


def test_a_run_is_recorded_if_lock_and_summary_are_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_recorded(PARAMETERS)  # no commit
    commit_run(tmp_path)
    assert is_recorded(PARAMETERS)
    assert not is_recorded({**PARAMETERS, "memory": {"budget": 100}})
    assert not is_recorded({**PARAMETERS, "evaluate": {"group_labels": 1}})
    (tmp_path / "dvc.lock").write_text("of a run that is not committed")
    assert is_recorded(PARAMETERS)
    for other in ({"summary": "[]"}, {"parameters": {"memory": {"budget": 200}}}, {"stages": {}}):
        commit_run(tmp_path, **other)
        assert not is_recorded(PARAMETERS)
