"""The wheel and the sdist: what they hold, and that the wheel alone, with what it asks for, is a library."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from PIL import Image

from der.cli.main import PIPELINE
from tests.packaging.installing import ISOLATED, build, copy_tree, make_environment, run, tracked_files

LEFT_OUT = (".ci/", "dvc.lock", "metrics/")  # of the sdist
TEACHING = Path(__file__).with_name("teaching.py")
FIND = "import importlib.util, sys; print([one for one in sys.argv[1:] if importlib.util.find_spec(one)])"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel made from it."""
    place = tmp_path_factory.mktemp("distributions")
    return build(copy_tree(place / "tree"), place / "dist")


@pytest.fixture(scope="module")
def python(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with the wheel and what it asks for, no extra."""
    return make_environment(tmp_path_factory.mktemp("alone") / "environment", built[1])


def test_an_index_would_take_them(built: tuple[Path, Path], tmp_path: Path) -> None:
    printed = run(sys.executable, "-m", "twine", "check", "--strict", *built, where=tmp_path)
    assert printed.count("PASSED") == 2


def test_the_sdist_holds_what_is_tracked(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()}
    made = {name for name in names if name.startswith("src/der_pipeline.egg-info/")}
    assert names - made == {name for name in tracked_files() if not name.startswith(LEFT_OUT)} | {
        "PKG-INFO",
        "setup.cfg",
    }


def test_the_wheel_holds_the_package(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = message_from_string(archive.read(metadata).decode())
    package = {name.removeprefix("src/") for name in tracked_files() if name.startswith("src/der/")}
    assert {name for name in names if ".dist-info/" not in name} == package
    assert {"der/py.typed", "der/presets/digits.yaml", "der/presets/class_orders/podnet_1.yaml"} <= package
    assert f"{metadata.rpartition('/')[0]}/licenses/LICENSE" in names
    assert said["License-Expression"] == "MIT" and said.get_all("License-File") == ["LICENSE"]
    extras = {"pipeline", "onnx", "parquet", "photos", "tensorboard", "docs", "dev"}
    assert set(said.get_all("Provides-Extra") or []) == extras
    links = [one.partition(", ")[0] for one in said.get_all("Project-URL") or []]
    assert links == ["Homepage", "Documentation", "Repository", "Changelog", "Issues"]


def test_the_wheel_alone_learns(python: Path, tmp_path: Path) -> None:
    found = run(python, "-I", "-c", FIND, *sorted(PIPELINE), where=tmp_path)
    assert found == "['jinja2', 'markupsafe']\n"  # which torch asks for
    learned = run(python, "-I", TEACHING, tmp_path / "model", where=tmp_path)
    assert learned == "black dark light white\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    Image.new("L", (8, 8), 250).save(tmp_path / "white.png")
    line = ["predict", "model/checkpoint", "white.png", "--csv", "--top", "4"]
    assert {"black", "dark", "light", "white"} <= set(
        re.split(r"[,\n]", run(python.with_name("der"), *line, where=tmp_path))
    )


@pytest.mark.parametrize("command", ["report", "verify"])
def test_a_command_without_the_extra_says_what_to_install(command: str, python: Path, tmp_path: Path) -> None:
    line = [python.with_name("der"), command]
    done = subprocess.run(line, cwd=tmp_path, env=ISOLATED, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    said = r"error: (\w+) is missing, which this command needs; pip install 'der-pipeline\[pipeline\]'\n"
    missing = re.fullmatch(said, done.stderr)
    assert missing is not None and missing[1] in PIPELINE, done.stderr
