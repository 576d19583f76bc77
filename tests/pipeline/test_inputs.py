"""Which classes have other files than download read: by their names, sizes and moments."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from der.pipeline.inputs import (
    find_changed_classes,
    find_new_photos,
    keep_files_of_classes,
    list_files_of_classes,
)
from der.pipeline.project import GRAPH, RAW
from der.settings.sections import DatasetSettings
from tests.data.sources.image_trees import settings_for

IMAGES = Path("images")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetSettings:
    """A folder of two classes, which a download has read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DER_SCRATCH", str(tmp_path / "scratch"))
    GRAPH.write_text("stages: {download: {outs: [data/raw]}}\n", encoding="utf-8")
    for name in ("ant", "bee"):
        add(name, "0.png")
        add(name, "1.png")
    RAW.mkdir(parents=True)
    (RAW / "ant.npy").write_bytes(b"pixels")
    found = settings_for(IMAGES)
    keep_files_of_classes(list_files_of_classes(found))
    return found


def add(name: str, file: str, content: bytes = b"picture") -> None:
    path = IMAGES / "train" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


CHANGES: dict[str, tuple[Callable[[], object], set[str]]] = {
    "nothing": (lambda: None, set()),
    "a file more": (lambda: add("bee", "2.png"), {"bee"}),
    "a file less": (lambda: (IMAGES / "train/bee/1.png").unlink(), {"bee"}),
    "another size": (lambda: add("ant", "1.png", b"another picture"), {"ant"}),
    "another moment": (lambda: os.utime(IMAGES / "train/ant/0.png", ns=(1, 1)), {"ant"}),
    "a class more": (lambda: add("cat", "0.png"), {"cat"}),
    "no picture": (lambda: add("ant", "about.txt"), set()),
    "another name": (lambda: (IMAGES / "train/bee").rename(IMAGES / "train/wasp"), {"bee", "wasp"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_classes_whose_files_changed(name: str, settings: DatasetSettings) -> None:
    change, expected = CHANGES[name]
    change()
    assert find_changed_classes(settings) == expected


def test_nothing_is_known_of_other_results_and_other_sources(settings: DatasetSettings) -> None:
    assert find_changed_classes(replace(settings, source="digits")) is None
    assert find_changed_classes(replace(settings, path="images.zip")) is None
    (IMAGES / "train/ant/deeper").mkdir()
    assert find_changed_classes(settings) is None
    (IMAGES / "train/ant/deeper").rmdir()
    keep_files_of_classes(list_files_of_classes(settings))  # the newest of several counts
    assert find_changed_classes(settings) == set()
    (RAW / "ant.npy").write_bytes(b"of another download")
    assert find_changed_classes(settings) is None


def test_new_photos_are_known_where_nothing_else_changed(settings: DatasetSettings) -> None:
    assert find_new_photos(settings) == {}
    for name in ("ant", "bee", "cat"):  # of which cat is new
        add(name, "00.png")  # first by name
        add(name, "2.png")
    new = {name: [IMAGES / "train" / name / file for file in ("00.png", "2.png")] for name in ("ant", "bee")}
    assert find_new_photos(settings) == new
    add("bee", "1.png", b"another picture")
    assert find_new_photos(settings) == {"ant": new["ant"]}
    (IMAGES / "train/ant/0.png").unlink()
    assert find_new_photos(settings) == {}
    assert find_new_photos(replace(settings, path="images.zip")) == {}
