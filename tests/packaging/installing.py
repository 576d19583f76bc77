"""Wheels and sdists built from a copy of the tree, and environments with no more than a wheel asks for."""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.locations import ROOT

NAME = "der-pipeline"
ISOLATED = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def run(*words: str | Path, where: Path) -> str:
    """Run a command that must succeed; returns what it printed."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=where,
        env=os.environ | ISOLATED,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked_files() -> list[str]:
    """What git tracks of the tree, and what it does not ignore."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return [name for name in run(*words, where=ROOT).splitlines() if (ROOT / name).is_file()]


def copy_tree(target: Path) -> Path:
    """A copy of the tree, as building writes beside the code."""
    for name in tracked_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)
    return target


def build(tree: Path, target: Path) -> tuple[Path, Path]:
    """The sdist of a tree, and the wheel made from that."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, tree, where=tree)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return sdist, wheel


def normalise(name: str) -> str:
    """A distribution's name, in the one way of writing it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(requirements: list[str]) -> set[str]:
    """Names of the installed distributions that ``requirements`` ask for, straight and through others."""
    todo, found = [(Requirement(line), "") for line in requirements], set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = normalise(requirement.name)
        key = (name, *sorted(requirement.extras))
        if key in found:
            continue
        found.add(key)
        inner = [Requirement(line) for line in metadata.requires(name) or []]
        todo += [(one, extra) for one in inner for extra in ("", *requirement.extras)]
    return {name for name, *_ in found}


def make_environment(target: Path, wheel: Path) -> Path:
    """An environment with a wheel and, of what is installed here, what it asks for; returns its python."""
    venv.create(target, symlinks=True, with_pip=False)
    python = target / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, *_quiet(), "--no-deps", wheel, where=target)
    (site,) = target.glob("lib/python*/site-packages")
    (installed,) = metadata.distributions(name=NAME, path=[str(site)])
    for name in needed_by(list(installed.requires or [])):
        link_distribution(name, site)
    return python


def _quiet() -> list[str]:
    return ["install", "--quiet", "--no-index", "--disable-pip-version-check", "--no-warn-script-location"]


def link_distribution(name: str, site: Path) -> None:
    """Have what a distribution brings importable from ``site`` too."""
    files = metadata.distribution(name).files
    assert files is not None
    for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
        if not (site / top).exists() and not top.endswith(".pth"):
            (site / top).symlink_to(metadata.distribution(name).locate_file(top))
