"""Published results: those of the same images and the same protocol, and no others."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from der.core.files import seal, write_json
from der.data.arrays import class_file
from der.data.protocol import identify
from der.pipeline.inputs import IDENTITIES, RunImages
from der.pipeline.presets import PRESETS, load_preset
from der.pipeline.project import RAW
from der.pipeline.runs import PUBLISHED, joint_accuracy, published_curves, published_references
from der.settings.experiment import read_order
from der.settings.parsing import parse
from der.settings.sections import SPLITS, ProtocolSettings
from tests.locations import ROOT

CIFAR = "cifar100"


def protocol_like(preset: str, **changes: Any) -> ProtocolSettings:
    """The committed protocol with as many classes at each step as a preset has."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["protocol"]
    wanted = load_preset(preset)["protocol"]
    steps = {key: wanted[key] for key in ("first_classes", "later_classes")}
    return parse(ProtocolSettings, values | steps | changes)


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


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The presets and what is published of them; the images in data/raw are those of CIFAR-100's presets."""
    shutil.copytree(ROOT / PRESETS, tmp_path / PRESETS)
    (tmp_path / PUBLISHED).parent.mkdir()
    shutil.copyfile(ROOT / PUBLISHED, tmp_path / PUBLISHED)
    monkeypatch.chdir(tmp_path)
    write_raw(sorted(read_order("podnet_1")), 32)
    know(CIFAR)


def names_beside(source: str, protocol: ProtocolSettings) -> set[str]:
    return {one.name for one in published_references(RunImages(source), protocol)}


def test_published_curves_are_those_of_the_same_protocol() -> None:
    curves = [
        curve
        for preset in ("joint", "notebook", "paper_b0_10")
        for curve in published_curves(RunImages(CIFAR), protocol_like(preset))
    ]
    assert all(len(one.classes) == len(one.top1) and one.classes[-1] == 100 for one in curves)
    assert {one.name for one in curves} == {
        "notebook, without pruning (notebook)",
        "paper_b0_10, without pruning (authors)",
        "paper_b0_10 and paper_b0_10_masks, with pruning (authors)",
    }
    (notebook,) = published_curves(RunImages("folder"), protocol_like("notebook"))  # the same, from elsewhere
    assert (notebook.classes, notebook.top1) == ([25, 50, 75, 100], [85.04, 74.56, 68.48, 64.86])
    assert not published_curves(RunImages(CIFAR), protocol_like("notebook", steps=[["a", "b"]]))
    assert not published_curves(RunImages(CIFAR), protocol_like("digits"))


def test_results_without_a_curve_are_compared_to_as_well() -> None:
    references = published_references(RunImages(CIFAR), protocol_like("pycil_b0_10"))
    named = {one.name: (one.average.value, one.last.value) for one in references}
    assert named["published: pycil_b0_10, without pruning (pycil)"] == (69.8, 58.7)
    assert named["published: paper_b0_10, without pruning (authors)"] == (75.36, 65.22)


def test_other_images_are_compared_to_nothing_whatever_their_source_and_names() -> None:
    protocol, names = protocol_like("paper_b0_10"), RunImages(CIFAR).classes
    assert names_beside(CIFAR, protocol)
    write_raw([*names[:-1], "another name"], 32)
    assert not names_beside(CIFAR, protocol) and not names_beside("folder", protocol)
    write_raw(names, 16)  # scaled
    assert not names_beside(CIFAR, protocol)


def test_where_no_identity_is_known_the_source_or_the_listed_classes_decide() -> None:
    know()
    assert names_beside(CIFAR, protocol_like("paper_b0_10"))
    assert not names_beside("digits", protocol_like("paper_b0_10"))
    names, protocol = ["ant", "bee", "cat"], protocol_like("imagenet100_b0_10")
    write_raw(names, 224)
    assert not names_beside("folder", protocol)
    preset = PRESETS / "imagenet100_b0_10.yaml"
    text = preset.read_text(encoding="utf-8")
    preset.write_text(text.replace("class_order: 1993", "class_order: [cat, ant, bee]"), encoding="utf-8")
    found = names_beside("folder", protocol)
    assert found and all(name.startswith("published: imagenet100_b0_10, ") for name in found)
    write_raw(names[:2], 224)
    assert not names_beside("folder", protocol)


def test_the_upper_bound_is_the_mean_of_recorded_runs_on_the_same_images_and_classes() -> None:
    assert joint_accuracy(RunImages(CIFAR), 100) is None
    for seed, top1 in ((0, 78.0), (1, 79.0)):
        write_json(Path(f"results/joint-alphabetical-seed{seed}.json"), {"metrics": {"last_top1": top1}})
    assert joint_accuracy(RunImages(CIFAR), 100) == joint_accuracy(RunImages("folder"), 100) == 78.5
    assert joint_accuracy(RunImages(CIFAR), 50) is None  # a protocol that names half of the classes
    know()
    assert joint_accuracy(RunImages("folder"), 100) is None


CONTENT = json.loads((ROOT / PUBLISHED).read_text(encoding="utf-8"))
PAPER = {  # as in its tables, without and with pruning, typed anew; and the steps
    "paper_b0_5": (76.80, 68.72, 75.55, 67.27, 5),
    "paper_b0_10": (75.36, 65.22, 74.64, 64.36, 10),
    "paper_b0_20": (74.09, 62.49, 73.98, 62.56, 20),
    "paper_b0_50": (72.41, 59.08, 72.05, 59.77, 50),
    "paper_b50_2": (74.61, 68.44, 74.57, 68.50, 3),
    "paper_b50_5": (73.21, 66.26, 72.60, 66.03, 6),
    "paper_b50_10": (72.81, 65.64, 72.45, 65.58, 11),
    "imagenet100_b0_10": (77.18, 66.70, 76.12, 66.06, None),
}


def test_published_numbers() -> None:
    for name, kinds in CONTENT["presets"].items():
        load_preset(name)
        for numbers in kinds.values():
            assert numbers["source"] in CONTENT["sources"]
            if curve := numbers.get("top1"):
                assert sum(curve) / len(curve) == pytest.approx(numbers["average_top1"], abs=0.01), name
                assert curve[-1] == numbers["last_top1"], name
    for name, (*numbers, steps) in PAPER.items():
        kinds = [CONTENT["presets"][name][kind] for kind in ("unpruned", "pruned")]
        assert [one[key] for one in kinds for key in ("average_top1", "last_top1")] == numbers
        assert steps is None or len(kinds[1]["top1"]) == steps
