"""A pipeline of its own for what is measured: a copy of this repository's, elsewhere."""

import os
import shutil
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from der.settings.parsing import load_document, put_values

COPIED = (
    "src",
    "stages",
    "results",
    "dvc.yaml",
    "params.yaml",
    "chain.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
)
FOLDERS = ("data/images", "data/weights", ".dvc")
DVC = (sys.executable, "-m", "dvc")


def copy_pipeline(root: Path) -> None:
    """Copy code and parameters to ``root``, a repository of git and DVC; what stages left there stays."""
    for name in COPIED:
        source, target = Path(name), root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    if not (root / ".git").exists():
        subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)


def run_der(root: Path, *words: str) -> None:
    """Run a command of the copy."""
    line = [sys.executable, "-m", "der", *words]
    subprocess.run(line, cwd=root, check=True, env=os.environ | {"PYTHONPATH": "src"})


def edit_parameters(root: Path, values: dict[str, Any]) -> None:
    """Set ``values`` of params.yaml, by their dotted paths, which must be there."""
    path = root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    content = load_document(text)
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        assert last in reduce(getitem, parents, content), dotted
        nested = reduce(lambda inner, key: {key: inner}, reversed(parents), {last: value})
        text = put_values(text, nested)
    path.write_text(text, encoding="utf-8")


def environment(root: Path) -> dict[str, str]:
    """That of commands of DVC, with training state beside the copy."""
    return os.environ | {"DER_SCRATCH": str(root.parent / "scratch"), "DVC_NO_ANALYTICS": "1"}


def disk(root: Path, *names: str) -> int:
    """Bytes on disk below ``names``, a file with several links once."""
    files = {
        (status.st_dev, status.st_ino): status.st_blocks * 512
        for name in names
        for file in (root / name).rglob("*")
        if file.is_file()
        for status in (file.stat(),)
    }
    return sum(files.values())
