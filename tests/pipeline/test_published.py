"""Published results: those of the same images and the same protocol, and no others."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from der.core.sealed import seal
from der.core.serialization import write_json
from der.data import SPLITS
from der.data.class_arrays import class_file
from der.data.protocol import identify
from der.pipeline.inputs import IDENTITIES, RunImages
from der.pipeline.paths import RAW
from der.pipeline.presets import PRESETS, load_order, load_preset
from der.pipeline.published import PUBLISHED, joint_accuracy, published_curves, published_references
from der.settings.parsing import parse
from der.settings.protocol import ProtocolSettings
from tests.locations import ROOT

FOLDER = "folder"


def protocol_like(preset: str, **changes: Any) -> ProtocolSettings:
    """The committed protocol with as many classes at each step as a preset has."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["protocol"]
    wanted = load_preset(preset)["protocol"]
    steps = {key: wanted[key] for key in ("first_classes", "later_classes")}
    return parse(ProtocolSettings, values | steps | changes)


def cifar() -> RunImages:
    return RunImages("cifar100")


def write_raw(names: list[str], side: int) -> None:
    """Have data/raw hold an image of every class in either split."""
    shutil.rmtree(RAW, ignore_errors=True)
    for split in SPLITS:
        (RAW / split).mkdir(parents=True)
        for label, name in enumerate(names):
            np.save(RAW / split / class_file(name), np.full((1, side, side, 3), label, np.uint8))
        seal(RAW / split, {})


def know(*sources: str) -> None:
    """Have the images in data/raw be those that presets of ``sources`` mean, and no others be known."""
    identity = identify(RAW).sha256
    write_json(IDENTITIES, [{"dataset": {"source": source}, "sha256": identity} for source in sources])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The presets and what is published of them; the images in data/raw are those of CIFAR-100's presets."""
    shutil.copytree(ROOT / PRESETS, tmp_path / PRESETS)
    (tmp_path / PUBLISHED).parent.mkdir()
    shutil.copyfile(ROOT / PUBLISHED, tmp_path / PUBLISHED)
    monkeypatch.chdir(tmp_path)
    write_raw(sorted(load_order("podnet_1")), 32)
    know("cifar100")


@pytest.mark.usefixtures("place")
def test_published_curves_are_those_of_the_same_images_and_protocol() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    seen, images = set(), cifar()
    for preset in ("joint", "notebook", "pycil_b0_10", "paper_b0_50", "paper_b50_10"):
        curves = published_curves(images, protocol_like(preset))
        expected = {
            tuple(results["top1"])
            for other, kinds in published["presets"].items()
            for results in kinds.values()
            if "top1" in results and protocol_of(other) == protocol_of(preset)
        }
        assert {tuple(curve.top1) for curve in curves} == expected
        assert len(curves) == len(expected)
        for curve in curves:
            assert curve.source in published["sources"].values()
            assert len(curve.classes) == len(curve.top1) and curve.classes[-1] == 100
            seen.add(curve.name)
    assert {
        "notebook, without pruning (notebook)",
        "paper_b0_10, without pruning (authors)",
        "paper_b0_10 and paper_b0_10_masks, with pruning (authors)",
    } <= seen
    assert published_curves(RunImages(FOLDER), protocol_like("notebook"))  # the same ones, from elsewhere
    assert not published_curves(images, protocol_like("notebook", steps=[["a", "b"]]))
    assert not published_curves(images, protocol_like("digits"))


@pytest.mark.usefixtures("place")
def test_results_without_a_curve_are_compared_to_as_well() -> None:
    references = published_references(cifar(), protocol_like("pycil_b0_10"))
    named = {one.name: (one.average, one.last) for one in references}
    assert named["published: pycil_b0_10, without pruning (pycil)"] == (69.8, 58.7)
    assert named["published: paper_b0_10, without pruning (authors)"] == (75.36, 65.22)


@pytest.mark.usefixtures("place")
def test_other_images_are_compared_to_nothing_whatever_their_source_and_names() -> None:
    protocol = protocol_like("paper_b0_10")
    names = cifar().classes
    assert published_references(cifar(), protocol)
    write_raw([*names[:-1], "another name"], 32)
    assert not published_references(cifar(), protocol)
    assert not published_references(RunImages(FOLDER), protocol)
    write_raw(names, 16)  # scaled
    assert not published_references(cifar(), protocol)


@pytest.mark.usefixtures("place")
def test_where_no_identity_is_known_a_source_of_one_data_set_decides() -> None:
    know()
    protocol = protocol_like("paper_b0_10")
    assert published_references(cifar(), protocol)
    assert not published_references(RunImages("digits"), protocol)


@pytest.mark.usefixtures("place")
def test_photos_in_a_folder_are_not_those_of_a_preset_that_reads_one() -> None:
    names = ["ant", "bee", "cat"]
    write_raw(names, 224)
    protocol = protocol_like("imagenet100_b0_10")
    assert not published_references(RunImages(FOLDER), protocol)
    preset = PRESETS / "imagenet100_b0_10.yaml"
    text = preset.read_text(encoding="utf-8")
    preset.write_text(text.replace("class_order: 1993", "class_order: [cat, ant, bee]"), encoding="utf-8")
    found = published_references(RunImages(FOLDER), protocol)  # of the classes that it lists
    assert found and all(one.name.startswith("published: imagenet100_b0_10, ") for one in found)
    write_raw(names[:2], 224)
    assert not published_references(RunImages(FOLDER), protocol)


@pytest.mark.usefixtures("place")
def test_the_upper_bound_is_the_mean_of_recorded_runs_on_the_same_images_and_classes() -> None:
    assert joint_accuracy(cifar(), 100) is None
    for seed, top1 in ((0, 78.0), (1, 79.0)):
        write_json(Path(f"results/joint-alphabetical-seed{seed}.json"), {"metrics": {"last_top1": top1}})
    assert joint_accuracy(cifar(), 100) == joint_accuracy(RunImages(FOLDER), 100) == 78.5
    assert joint_accuracy(cifar(), 50) is None  # a protocol that names half of the classes
    know()
    assert joint_accuracy(RunImages(FOLDER), 100) is None
    write_raw(["ant", "bee"], 32)
    know("digits")
    assert joint_accuracy(RunImages("digits"), 2) is None


@cache
def protocol_of(preset: str) -> tuple[Any, ...]:
    values = load_preset(preset)
    protocol = values["protocol"]
    return values["dataset"]["source"], protocol["first_classes"], protocol["later_classes"]
