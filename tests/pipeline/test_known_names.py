"""Classes of a source that does not name them: those in data/raw, while they are of the images there are."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.sealed import sealed_directory
from der.pipeline import known_names
from der.pipeline.edits import add_classes
from der.pipeline.lockfile import LOCK
from der.pipeline.params import read_params, read_text
from der.pipeline.paths import PARAMS, RAW, checkpoint
from der.pipeline.planning import planned_steps
from der.pipeline.presets import load_settings
from der.pipeline.steps import chain_length
from tests.pipeline.clones import make_clone
from tests.runs.lab import set_parameters

ARCHIVE, DIRECTORY = Path("images.tar.gz"), Path("data/images")
GZIP = b"\x1f\x8b"  # how a compressed file begins, of which names are not read
CODE = "what the code of download says"
TYPO = [["ant", "bee"], ["cst"]]
REFUSED = r"^params\.yaml: protocol\.steps: 'cst' is no class of the data set; it has ant, bee, cat, dog$"


def own_source(settings: Any, scratch: Path, /) -> list[Any]:
    raise AssertionError("nothing is read")


SOURCES = {"an archive": ("folder", ARCHIVE), "one's own": (f"{__name__}:own_source", DIRECTORY)}


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
    monkeypatch.setattr(known_names, "read_code", lambda stages: dict.fromkeys(stages, CODE))
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


def test_steps_that_the_protocol_does_not_name() -> None:
    set_parameters(PARAMS, {"protocol.steps": None, "protocol.first_classes": 3})
    assert planned_steps(load_settings()) == [["ant", "bee", "cat"], ["dog"]]


def test_such_a_class_cannot_be_added() -> None:
    checkpoint(1).mkdir(parents=True)
    (checkpoint(1) / "network.json").write_text(json.dumps({"steps": [["ant", "bee"]]}))
    set_parameters(PARAMS, {"protocol.steps": None})
    before = read_text()
    with pytest.raises(UserError, match=REFUSED):
        add_classes(["cst"])
    assert (read_text(), chain_length()) == (before, 4)
    add_classes(["cat"])
    assert load_settings().protocol.steps == [["ant", "bee"], ["cat"]]


def test_other_bytes_of_the_same_size_may_hold_other_classes(images: Path) -> None:
    images.write_bytes(GZIP + b"IMAGES")
    assert planned_steps(load_settings()) == TYPO


def test_more_images_may_hold_other_classes(images: Path) -> None:
    images.write_bytes(GZIP + b"images of a cst, too")
    assert planned_steps(load_settings()) == TYPO


def test_other_parameters_may_give_other_classes() -> None:
    set_parameters(PARAMS, {"dataset.seed": 1})
    assert planned_steps(load_settings()) == TYPO


def test_other_code_may_give_other_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_names, "read_code", lambda stages: dict.fromkeys(stages, "edited"))
    assert planned_steps(load_settings()) == TYPO


@pytest.mark.parametrize("missing", [LOCK, RAW / "train/ant.npy", RAW / "train/manifest.json"], ids=str)
def test_nothing_is_known_without_what_was_read(missing: Path) -> None:
    missing.unlink()
    assert planned_steps(load_settings()) == TYPO
