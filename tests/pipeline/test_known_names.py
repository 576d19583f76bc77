"""Classes of a source that does not name them: those in data/raw, while they are of the images there are."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.files import sealed_directory
from der.pipeline import edits
from der.pipeline.dvc import LOCK
from der.pipeline.edits import planned_steps
from der.pipeline.presets import load_settings
from der.pipeline.project import PARAMS, RAW, read_params
from tests.pipeline.clones import make_clone
from tests.runs.lab import set_parameters

ARCHIVE, DIRECTORY = Path("images.tar.gz"), Path("data/images")
GZIP = b"\x1f\x8b"  # how a compressed file begins, of which names are not read
CODE = "what the code of download says"
TYPO = [["ant", "bee"], ["cst"]]
REFUSED = r"^params\.yaml: protocol\.steps: 'cst' is no class of the data set; it has ant, bee, cat, dog$"


def own_source(settings: Any, scratch: Path, /) -> list[Any]:
    raise AssertionError("nothing is read")


SOURCES = {"an archive": ("folder", ARCHIVE), "user-defined": (f"{__name__}:own_source", DIRECTORY)}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(params=SOURCES, autouse=True)
def images(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the images of a clone in which DVC has run download, and nothing has changed since."""
    make_clone(tmp_path, monkeypatch)
    source, path = SOURCES[request.param]
    set_parameters(PARAMS, {"dataset.source": source, "dataset.path": str(path), "protocol.steps": TYPO})
    file = path if path == ARCHIVE else path / "mine.npz"
    file.write_bytes(GZIP + b"images")
    for split in ("train", "test"):
        with sealed_directory(RAW / split) as directory:
            for name in ("ant", "bee", "cat", "dog"):
                (directory / f"{name}.npy").write_bytes(b"pixels")
    monkeypatch.setattr(edits, "read_code", lambda stages: dict.fromkeys(stages, CODE))
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
