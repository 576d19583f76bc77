"""The steps of a protocol before there are arrays of images: right, or not known, never wrong."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from der.common.errors import UserError
from der.data.sources.folder_check import check_folder
from der.project.planning import planned_steps
from der.project.settings import load_settings
from tests.locations import ROOT
from tests.pipeline.lab import set_parameters


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the committed parameters and images of four classes."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    for name in ("ant", "bee", "cat", "dog", ".hidden"):
        (tmp_path / "images/train" / name).mkdir(parents=True)
    (tmp_path / "images/train/readme.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(**values: Any) -> list[list[str]] | None:
    """The steps of the committed parameters with ``values``, two underscores for each dot."""
    edits = {"protocol.first_classes": 2, **{key.replace("__", "."): value for key, value in values.items()}}
    set_parameters(Path("params.yaml"), edits)
    return planned_steps(load_settings())


FOLDER = {"dataset__source": "folder", "dataset__path": "images"}
ARCHIVE = {"dataset__source": "folder", "dataset__path": "images.zip"}
NAMED = [["ant", "bee"], ["elk"]]


def test_digits() -> None:
    assert plan() == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]]
    assert plan(protocol__steps=[["9"], ["0", "3"]]) == [["9"], ["0", "3"]]


def test_a_directory_of_images() -> None:
    assert plan(**FOLDER) == [["ant", "bee"], ["cat", "dog"]]
    assert plan(**FOLDER, protocol__class_order=["dog", "cat", "bee", "ant"]) == [
        ["dog", "cat"],
        ["bee", "ant"],
    ]


def test_where_only_the_number_of_classes_is_known() -> None:
    steps = plan(dataset__source="cifar100", protocol__later_classes=7)
    assert steps is not None
    assert [len(step) for step in steps] == [2, *[7] * 14]


@pytest.mark.parametrize("source", [ARCHIVE, {"dataset__source": "cifar100"}], ids=["archive", "cifar100"])
def test_classes_that_the_protocol_names(source: dict[str, Any]) -> None:
    assert plan(**source, protocol__steps=NAMED) == NAMED
    assert plan(**source, protocol__steps=None, protocol__class_order=["c", "b", "a"]) == [["c", "b"], ["a"]]


def test_what_only_the_images_tell() -> None:
    assert plan(**ARCHIVE) is None
    assert plan(dataset__source="folder", dataset__path="nowhere") is None


def test_a_directory_without_classes_is_refused_before_anything_is_removed(place: Path) -> None:
    for name in ("ant", "bee", "cat"):
        (place / "images/train" / name).rmdir()
    set_parameters(Path("params.yaml"), {"dataset.source": "folder", "dataset.path": "images"})
    dataset = load_settings().dataset
    with pytest.raises(UserError, match=r"^images: has 1 of the two classes that are needed"):
        check_folder(dataset)
    shutil.rmtree(place / "images/train")
    with pytest.raises(UserError, match=r"^images: has no folder train; put images into"):
        check_folder(dataset)


def test_a_file_that_is_no_archive_is_refused_before_anything_is_removed(place: Path) -> None:
    set_parameters(Path("params.yaml"), {"dataset.source": "folder", "dataset.path": "params.yaml"})
    with pytest.raises(UserError, match=r"^params\.yaml: neither a directory nor a \.zip, "):
        check_folder(load_settings().dataset)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol__first_classes": 11}, r"protocol\.first_classes: 11, but the data set has 10 classes"),
        ({"protocol__steps": [["10"]]}, r"protocol\.steps: '10' is no class of the data set"),
        ({**FOLDER, "protocol__steps": NAMED}, r"protocol\.steps: 'elk' is no class of the data set"),
        ({**ARCHIVE, "protocol__steps": [["ant"], ["ant"]]}, r"protocol\.steps: 'ant' stands 2 times"),
        ({**FOLDER, "memory__budget": 3}, r"memory\.budget: 3 leaves no exemplar for each of 4 classes"),
    ],
)
def test_what_does_not_fit_the_classes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(**values)
