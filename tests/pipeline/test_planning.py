"""The steps of a protocol before there are arrays of images: right, or not known, never wrong.

Sources name their classes, or do not: then those in data/raw count, while they are of the images there are.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.files import sealed_directory
from der.data.sources.registry import CLASSES
from der.pipeline.dvc import LOCK
from der.pipeline.edits import planned_steps
from der.pipeline.presets import load_settings
from der.pipeline.project import PARAMS, RAW, read_params
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


# Sources that do not name their classes

ARCHIVED, DIRECTORY = Path("images.tar.gz"), Path("data/images")
GZIP = b"\x1f\x8b"  # how a compressed file begins, of which names are not read
CODE = "what the code of download says"
TYPO = [["ant", "bee"], ["cst"]]
REFUSED = r"^params\.yaml: protocol\.steps: 'cst' is no class of the data set; it has ant, bee, cat, dog$"


def own_source(settings: Any, scratch: Path, /) -> list[Any]:
    raise AssertionError("nothing is read")


SOURCES = {"an archive": ("folder", ARCHIVED), "user-defined": (f"{__name__}:own_source", DIRECTORY)}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(params=SOURCES)
def images(request: pytest.FixtureRequest, clone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the images of a clone in which DVC has run download, and nothing has changed since."""
    source, path = SOURCES[request.param]
    set_parameters(PARAMS, {"dataset.source": source, "dataset.path": str(path), "protocol.steps": TYPO})
    file = path if path == ARCHIVED else path / "mine.npz"
    file.write_bytes(GZIP + b"images")
    for split in ("train", "test"):
        with sealed_directory(RAW / split) as directory:
            for name in ("ant", "bee", "cat", "dog"):
                (directory / f"{name}.npy").write_bytes(b"pixels")
    monkeypatch.setattr("der.pipeline.fingerprint.read_code", lambda stages: dict.fromkeys(stages, CODE))
    lock = {"schema": "2.0", "stages": {"download": record(path, file)}}
    LOCK.write_text(json.dumps(lock) + "\n")
    return file


def record(path: Path, file: Path) -> dict[str, Any]:
    """What dvc.lock says of download."""
    pixels = [one.stat().st_size for one in RAW.rglob("*") if one.is_file()]
    content = file.read_bytes()
    read = {"path": str(path), "md5": md5(content), "size": len(content)}
    if path.is_dir():
        listing = json.dumps([{"md5": md5(content), "relpath": file.name}])
        read |= {"md5": f"{md5(listing.encode())}.dir", "nfiles": 1}
    return {
        "deps": [{"path": "data/fingerprints/download", "md5": md5(CODE.encode())}, read],
        "outs": [{"path": "data/raw", "md5": "...", "size": sum(pixels), "nfiles": len(pixels)}],
        "params": {"params.yaml": {"dataset": read_params()["dataset"]}},
    }


@pytest.mark.usefixtures("images")
def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=REFUSED):
        planned_steps(load_settings())
    set_parameters(PARAMS, {"protocol.steps": [["ant", "bee"], ["cat"]]})
    assert planned_steps(load_settings()) == [["ant", "bee"], ["cat"]]
    set_parameters(PARAMS, {"protocol.steps": None, "protocol.class_order": ["dog", "cat", "ant"]})
    with pytest.raises(UserError, match=r"^params\.yaml: protocol\.class_order: 'bee' is missing; list"):
        planned_steps(load_settings())
    set_parameters(PARAMS, {"protocol.class_order": "alphabetical", "protocol.first_classes": 3})
    assert planned_steps(load_settings()) == [["ant", "bee", "cat"], ["dog"]]


EDITS: dict[str, Callable[[Path], object]] = {
    "other bytes of the same size": lambda images: images.write_bytes(GZIP + b"IMAGES"),
    "more images": lambda images: images.write_bytes(GZIP + b"images of a cst, too"),
    "other parameters": lambda images: set_parameters(PARAMS, {"dataset.seed": 1}),
    "no lock": lambda images: LOCK.unlink(),
    "an array lost": lambda images: (RAW / "train/ant.npy").unlink(),
    "a manifest lost": lambda images: (RAW / "train/manifest.json").unlink(),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_may_hold_other_classes_is_not_refused(edit: str, images: Path) -> None:
    EDITS[edit](images)
    assert planned_steps(load_settings()) == TYPO
