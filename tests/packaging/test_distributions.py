"""The wheel and the sdist: what they hold, and that the wheel alone, with what it asks for, is a library."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from der.cli.main import PIPELINE
from tests.locations import ROOT

pytestmark = pytest.mark.slow

LEFT_OUT = (".ci/", "dvc.lock", "metrics/")  # of the sdist
ISOLATED = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
FIND = "import importlib.util, sys; print([one for one in sys.argv[1:] if importlib.util.find_spec(one)])"
# A classifier learns two steps of noise, and is the same after it was saved.
LEARN = """
import numpy as np
import der

draw = np.random.RandomState(0)
images = np.concatenate([draw.randint(low, low + 60, (24, 8, 8)) for low in (0, 60, 120, 180)])
images = images.astype(np.uint8)
labels = np.repeat(["black", "dark", "light", "white"], 24)
phases = ("train__base__", "train__incremental__")
short = {phase + key: value for phase in phases for key, value in (("epochs", 2), ("milestones", []))}
model = der.DERClassifier(der.preset("digits"), device="cpu", network__depth=8, **short)
model.partial_fit(images[:48], labels[:48]).partial_fit(images[48:], labels[48:])
model.save("model")
loaded = der.load("model")
assert (loaded.predict(images) == model.predict(images)).all()
print(*loaded.classes_)
"""


def run(*words: str | Path, where: Path) -> str:
    """Run a command that must succeed; returns what it printed."""
    line = [str(word) for word in words]
    done = subprocess.run(line, cwd=where, env=os.environ | ISOLATED, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """What git tracks of the tree, and what it does not ignore."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return {name for name in run(*words, where=ROOT).splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tracked: set[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of a copy of the tree, and the wheel made from it."""
    tree, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in tracked:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, tree, where=tree)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def python(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with the wheel and what it asks for, of what is installed here."""
    target = tmp_path_factory.mktemp("alone")
    venv.create(target, symlinks=True, with_pip=False)
    python = target / "bin" / "python"
    install = ["install", "--quiet", "--no-index", "--disable-pip-version-check", "--no-warn-script-location"]
    run(sys.executable, "-m", "pip", "--python", python, *install, "--no-deps", built[1], where=target)
    (site,) = target.glob("lib/python*/site-packages")
    (installed,) = metadata.distributions(name="der-pipeline", path=[str(site)])
    for name in needed_by(list(installed.requires or [])):
        files = metadata.distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (site / top).exists() and not top.endswith(".pth"):
                (site / top).symlink_to(metadata.distribution(name).locate_file(top))
    return python


def needed_by(requirements: list[str]) -> set[str]:
    """Names of the installed distributions that ``requirements`` ask for, straight and through others."""
    todo, found = [(Requirement(line), "") for line in requirements], set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        key = (name, *sorted(requirement.extras))
        if key not in found:
            found.add(key)
            inner = [Requirement(line) for line in metadata.requires(name) or []]
            todo += [(one, extra) for one in inner for extra in ("", *requirement.extras)]
    return {name for name, *_ in found}


def test_they_hold_what_is_tracked(built: tuple[Path, Path], tracked: set[str], tmp_path: Path) -> None:
    checked = run(sys.executable, "-m", "twine", "check", "--strict", *built, where=tmp_path)
    assert checked.count("PASSED") == 2
    with tarfile.open(built[0]) as archive:
        names = {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()}
    made = {name for name in names if name.startswith("src/der_pipeline.egg-info/")} | {
        "PKG-INFO",
        "setup.cfg",
    }
    assert names - made == {name for name in tracked if not name.startswith(LEFT_OUT)}
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/der/")}
    assert {name for name in names if ".dist-info/" not in name} == package
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_alone_learns(python: Path, tmp_path: Path) -> None:
    found = run(python, "-I", "-c", FIND, *sorted(PIPELINE), where=tmp_path)
    assert found == "['jinja2', 'markupsafe']\n"  # which torch asks for
    assert run(python, "-I", "-c", LEARN, where=tmp_path) == "black dark light white\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    Image.new("L", (8, 8), 250).save(tmp_path / "white.png")
    line = ["predict", "model/checkpoint", "white.png", "--csv", "--top", "4"]
    predicted = re.split(r"[,\n]", run(python.with_name("der"), *line, where=tmp_path))
    assert {"black", "dark", "light", "white"} <= set(predicted)


@pytest.mark.parametrize("command", ["report", "verify"])
def test_a_command_without_the_extra_says_what_to_install(command: str, python: Path, tmp_path: Path) -> None:
    line = [python.with_name("der"), command]
    done = subprocess.run(line, cwd=tmp_path, env=ISOLATED, capture_output=True, text=True)
    said = r"error: (\w+) is missing, which this command needs; pip install 'der-pipeline\[pipeline\]'\n"
    missing = re.fullmatch(said, done.stderr)
    assert done.returncode == 1 and missing is not None and missing[1] in PIPELINE, done.stderr
