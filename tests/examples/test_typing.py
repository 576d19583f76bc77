"""What a user's type checker sees of the library, from outside the repository."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import FunctionType
from typing import Any, get_type_hints, is_typeddict

import msgspec
import pytest

import der
from der.settings.sections import Section
from tests.examples.pages import write_modules
from tests.locations import ROOT

EXAMPLES = ROOT / "examples"
# torch's own types, which take most of the time, are left to the check of the whole tree.
CONFIGURATION = """
[mypy]
strict = true
warn_unused_ignores = false
disallow_subclassing_any = false
[mypy-torch.*]
follow_imports = skip
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
    """Functions, classes and what these have; every field of a record, and every setting."""
    public = getattr(der, name)
    if not isinstance(public, type | FunctionType):  # an alias, whose own documentation is another's
        (module,) = re.findall(rf"^from (\S+) import {name} as", stub(), re.MULTILINE)
        assert re.search(
            rf'^{name} = .+\n"""\w', inspect.getsource(importlib.import_module(module)), re.MULTILINE
        )
        return
    assert public.__doc__ and not public.__doc__.startswith(f"{name}(")
    if not isinstance(public, type):
        return
    own = [
        member
        for member, value in vars(public).items()
        if not member.startswith("_") and isinstance(value, FunctionType | property | classmethod)
    ]
    assert [one for one in own if not getattr(public, one).__doc__] == []
    if is_record(public):
        explained = [one for base in records(public) for one in attributes(base)]
        assert sorted(explained) == sorted(get_type_hints(public))
    if issubclass(public, Section):
        assert undescribed(public) == []


def records(public: Any) -> list[Any]:
    """A record's class, and those of the reference that it extends: Python 3.11 keeps no bases."""
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    places = re.findall(r"^::: ([\w.]+)\.(\w+)$", text, re.MULTILINE)
    listed = [getattr(importlib.import_module(module), name) for module, name in places]
    fields = get_type_hints(public).items()
    return [one for one in listed if is_record(one) and get_type_hints(one).items() <= fields]


def is_record(public: Any) -> bool:
    return is_typeddict(public) or hasattr(public, "_fields")


def attributes(record: Any) -> list[str]:
    """The fields that a class's documentation explains."""
    section = inspect.cleandoc(record.__doc__).partition("Attributes\n----------\n")[2]
    return re.findall(r"^(\w+)\n {4}\S", section, re.MULTILINE)


def undescribed(section: type[Section]) -> list[str]:
    """The settings without a description, which is what the reference and editors show."""
    said = msgspec.json.schema(section)["$defs"]
    return [
        f"{name}.{key}"
        for name, one in said.items()
        for key, value in one["properties"].items()
        if "description" not in (value if "$ref" not in value else value | said[value["$ref"][8:]])
    ]


def test_a_look_at_the_package_shows_what_is_public() -> None:
    names = [name for name in dir(der) if not name.startswith("_")]
    assert set(der.__all__) <= set(names) and not {"Any", "import_module"} & set(names)


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
    assert {place for place, _ in errors} == {"view.py:10"} and len(errors) == 2, done.stdout
