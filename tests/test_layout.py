"""The folders are what docs/architecture.md says, tests mirror them, and no file grows too long."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.locations import ROOT

PACKAGE = ROOT / "src" / "der"
# Folders of tests/ that are none of der's.
BESIDE_DER = {"stages", "bench", "tools", "docs", "packaging", "runs", "compatibility", "examples", "cluster"}
ABOVE = {"__main__.py", "cli", "pipeline"}  # that may name the project's files
FINDS_THEM = {"estimator/classifier.py"}  # what der.load takes beside a checkpoint
LONGEST = 600  # lines
PROJECT = re.compile(
    r"dvc repro|DER_[A-Z]|(params|chain|dvc)\.yaml|dvc\.lock|params\.schema|presets/|results/"
)

# What starts without torch, and imports it when it is needed.
LIGHT = (
    "stages",
    "der.cli",
    "der.pipeline",
    "der.estimator.choices",
    "der.data.sources.registry",
    "der.model.backbones",
    "der.train.resume",
    "der.memory",
)
WITH_TORCH: set[str] = set()  # what a stage imports when it trains

# Imports modules; prints which of the heavy ones came with them.
IMPORT_ALL = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
for name in modules:
    importlib.import_module(name)
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def folders(parent: Path) -> set[str]:
    """Folders with Python code, at any depth."""
    return {path.parent.relative_to(parent).as_posix() for path in parent.rglob("*.py")} - {"."}


def too_long(parent: Path, lines: int) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {length} lines"
        for path in sorted(parent.rglob("*.py"))
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > lines
    ]


def modules_of(name: str) -> list[str]:
    """A module, or all of a package that can be imported."""
    path = (ROOT if name == "stages" else ROOT / "src") / name.replace(".", "/")
    if not path.is_dir():
        return [name]
    files = [file.relative_to(path.parent).with_suffix("").parts for file in path.rglob("*.py")]
    above = name.split(".")[:-1]
    return [
        ".".join([*above, *parts]).removesuffix(".__init__") for parts in files if parts[-1] != "__main__"
    ]


def test_tests_mirror_the_folders_of_the_library() -> None:
    mirrored = {name for name in folders(ROOT / "tests") if name.split("/")[0] not in BESIDE_DER}
    assert mirrored <= folders(PACKAGE)
    assert folders(PACKAGE) & {name.split("/")[0] for name in folders(PACKAGE)} <= mirrored  # every room


def test_no_module_and_no_test_is_too_long() -> None:
    places = ("src", "stages", "bench", "tools", "tests")
    assert [line for name in places for line in too_long(ROOT / name, LONGEST)] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_what_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|stages|bench|tools|tests|docs)/[^`]*|[\w.]+\.(?:yaml|json|toml))`", text)
    links = [Path(page).parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
    assert [str(name) for name in (*named, *links) if not (ROOT / name).exists()] == []
    assert named
    for name, path in re.findall(r"`(\w+)` in `(src/[^`]*\.py)`", text):
        assert re.search(rf"^(class )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (
            name
        )


def test_what_does_without_torch_leaves_it_alone() -> None:
    """Importing it, whatever its functions import later."""
    names = {name for room in LIGHT for name in modules_of(room)} - WITH_TORCH
    assert len(names) > 20
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps([sorted(names), ["torch", "torchvision"]])],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []


def strings(path: Path) -> list[str]:
    """Every string of a module but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said
    ]


def test_one_room_knows_the_project_s_files_and_commands() -> None:
    below = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ABOVE]
    below = [path for path in below if path.relative_to(PACKAGE).as_posix() not in FINDS_THEM]
    assert len(below) > 30
    assert [f"{path}: {text}" for path in below for text in strings(path) if PROJECT.search(text)] == []
