"""What a user's type checker sees of the library, from outside the repository."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import FunctionType

import pytest

import der
from tests.examples.programs import write_modules
from tests.locations import ROOT

EXAMPLES = ROOT / "examples"
# The types of other packages, which take most of the time, are left to the check of the whole tree.
CONFIGURATION = """
[mypy]
strict = true
warn_unused_ignores = false
disallow_subclassing_any = false
disallow_untyped_decorators = false
warn_return_any = false
[mypy-torch.*,msgspec.*,pandas.*,PIL.*,fastapi.*,uvicorn.*]
follow_imports = skip
[mypy-mlflow.*,wandb.*]
ignore_missing_imports = true
"""
VIEW = """
import numpy as np
import der

model = der.DERClassifier(der.preset("digits"))
reveal_type(model.partial_fit(np.zeros((2, 8, 8), np.uint8), [0, 1]))
reveal_type(model.score(np.zeros((2, 8, 8), np.uint8), [0, 1]))
reveal_type(der.load("model").save("again"))
reveal_type(model.evaluate(np.zeros((2, 8, 8), np.uint8), [0, 1])["top1"])
model.partial_fit([[0]], 3)
der.DERClassifier("digits", random_state=1, train__seed=1, train__base__milestones=[1], train__masks=None)
der.DERClassifier(train__sed=1)
der.DERClassifier(train__seed="1", dataset__seed=1)
"""


def stub() -> str:
    return (ROOT / "src/der/__init__.pyi").read_text(encoding="utf-8")


def test_the_stub_lists_what_is_public() -> None:
    listed = re.search(r"^__all__ = \[(.*?)\]", stub(), re.MULTILINE | re.DOTALL)
    assert listed is not None
    imported = re.findall(r"^from ([\w.]+) import (\w+) as \2$", stub(), re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', listed[1])) == {name for _, name in imported} == set(der.__all__)
    for module, name in imported:
        assert getattr(der, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", der.__all__)
def test_what_is_public_is_documented(name: str) -> None:
    """Functions, classes and what these have; tests/pipeline/test_checks.py looks at the settings."""
    public = getattr(der, name)
    if not isinstance(public, type | FunctionType):  # an alias, whose own documentation is another's
        return
    assert public.__doc__ and not public.__doc__.startswith(f"{name}(")
    members = [] if isinstance(public, FunctionType) else vars(public).items()
    own = [
        member
        for member, value in members
        if not member.startswith("_") and isinstance(value, FunctionType | property | classmethod)
    ]
    assert [one for one in own if not getattr(public, one).__doc__] == []


def environment(place: Path) -> Path:
    """The python of an environment with this tree's package as if installed, and what is installed here."""
    venv.create(place, symlinks=True, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "der").symlink_to(ROOT / "src" / "der")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin" / "python"


def test_the_examples_are_typed_strictly(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for file in EXAMPLES.rglob("*.py"):
        shutil.copyfile(file, work / file.name)
    write_modules(work)
    (work / "view.py").write_text(VIEW)
    (work / "mypy.ini").write_text(CONFIGURATION)
    words = ["--cache-dir", ROOT / ".mypy_cache" / "outside"]
    words += ["--python-executable", environment(tmp_path / "environment")]
    line = [sys.executable, "-m", "mypy", *map(str, words), *sorted(file.name for file in work.glob("*.py"))]
    usual = {name: text for name, text in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}
    done = subprocess.run(line, cwd=work, env=usual, capture_output=True, text=True)
    notes = re.findall(r"^view\.py:\d+: note: Revealed type is \"(.+)\"$", done.stdout, re.MULTILINE)
    assert notes == ["der.estimator.classifier.DERClassifier", "float", "None", "float"]
    errors = re.findall(r"^(\S+): error: (.*)$", done.stdout, re.MULTILINE)
    places = [place for place, _ in errors]
    assert places == ["view.py:10", "view.py:12", "view.py:13", "view.py:13"], done.stdout
    assert 'Unexpected keyword argument "train__sed" for "DERClassifier"' in errors[1][1]
