"""The steps of a protocol before there are arrays of images: right, or not known, never wrong.

Sources name their classes, or do not: then the protocol may.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.data.sources.registry import CLASSES
from der.pipeline.edits import planned_steps
from der.pipeline.presets import load_settings
from tests.data.sources.image_trees import tree_of, write_zip
from tests.locations import ROOT
from tests.runs.lab import set_parameters


@pytest.fixture
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
ARCHIVE = {"dataset__source": "folder", "dataset__path": "images.tar"}
ZIP = {"dataset__source": "folder", "dataset__path": "images.zip"}
NAMED = [["ant", "bee"], ["elk"]]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("values", "steps"),
    [
        (FOLDER, [["ant", "bee"], ["cat", "dog"]]),
        (FOLDER | {"protocol__class_order": ["dog", "cat", "bee", "ant"]}, [["dog", "cat"], ["bee", "ant"]]),
        (ZIP, [["ant", "bee"], ["cat"]]),
        (ARCHIVE, None),  # only the images tell
        (FOLDER | {"dataset__path": "nowhere"}, None),
        (ARCHIVE | {"protocol__steps": NAMED}, NAMED),  # the protocol names all that it teaches
        (ARCHIVE | {"protocol__class_order": ["c", "b", "a"]}, [["c", "b"], ["a"]]),
    ],
)
def test_images_of_one_s_own(values: dict[str, Any], steps: list[list[str]] | None) -> None:
    tree = tree_of(train={"cat": 2, "ant": 2, "bee": 2}) | {"train/.hidden/0.png": b""}
    write_zip(Path("images.zip"), {f"mine/{path}": content for path, content in tree.items()})
    assert plan(**values) == steps


@pytest.mark.usefixtures("place")
def test_data_sets_that_are_the_same_everywhere() -> None:
    steps = plan(dataset__source="cifar100", protocol__later_classes=7)
    assert steps is not None
    assert [len(step) for step in steps] == [2, *[7] * 14]
    assert plan(dataset__source="cifar10", protocol__steps=[["truck"], ["cat"]]) == [["truck"], ["cat"]]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol__first_classes": 11}, r"protocol\.first_classes: 11, but the data set has 10 classes"),
        ({**FOLDER, "protocol__steps": NAMED}, r"protocol\.steps: 'elk' is no class of the data set"),
        (
            {"dataset__source": "cifar100", "protocol__class_order": CLASSES["cifar100"][1:]},
            r"protocol\.class_order: 'apple' is missing; list every class once",
        ),
        ({**ARCHIVE, "protocol__steps": [["ant"], ["ant"]]}, r"protocol\.steps: 'ant' stands 2 times"),
        ({**FOLDER, "memory__budget": 3}, r"memory\.budget: 3 leaves no exemplar for each of 4 classes"),
    ],
)
def test_what_does_not_fit_the_classes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(**values)
