"""examples/photos: its commands, on a tiny pipeline."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.locations import ROOT
from tests.model.tiny_timm import BACKBONE as BACKBONE_NAME
from tests.model.tiny_timm import write_weights
from tests.runs.lab import Pipeline, numbered
from tests.runs.pages import blocks

PAGE = (ROOT / "examples/photos/README.md").read_text(encoding="utf-8")
SHAPES = ["circle", "pentagon", "square", "triangle"]
BACKBONE = {"network__backbone": BACKBONE_NAME, "network__weights": "data/weights/tiny.pth"}
SHORT = {f"train__{phase}__epochs": 1 for phase in ("base", "incremental")}
SHORT |= {f"train__{phase}__milestones": [] for phase in ("base", "incremental")}


def commands(text: str) -> list[list[str]]:
    return [line.partition("#")[0].split() for line in re.findall(r"^    (.*)$", text, re.MULTILINE)]


def apply_preset(pipeline: Pipeline) -> None:
    """Preset photos, with timm's smallest model and weights that are here, for one epoch."""
    pipeline.der("preset", "photos")
    write_weights(pipeline.root / "data/weights").rename(pipeline.root / "data/weights/tiny.pth")
    pipeline.edit(**BACKBONE, **SHORT, dataset__image_side=32)


def test_its_commands(pipeline: Pipeline) -> None:
    draw, install, preset, repro, predict, more, add, again = commands(PAGE)
    shutil.rmtree(pipeline.root / "data/images/train")
    pipeline.succeed(*draw, "--images", "8")
    assert sorted(path.name for path in (pipeline.root / "data/images/train").iterdir()) == SHAPES
    assert [install[:2], preset, repro, again] == [
        ["pip", "install"],
        ["der", "preset", "photos"],
        ["dvc", "repro"],
        repro,
    ]
    apply_preset(pipeline)
    run = pipeline.repro().run
    assert {"initialize", "download", *numbered("T1", "B1", "E1")} <= set(run)
    assert set(re.findall(r"\b(circle|pentagon|square|triangle)\b", pipeline.der(*predict[1:]))) >= {"circle"}
    pipeline.succeed(*more, "--images", "8")
    assert "star" in pipeline.der(*add[1:])


@pytest.mark.parametrize("page", ["README.md", "docs/images.md"])
def test_commands_of_the_pages_are_the_example_s(page: str) -> None:
    lines = [line for block in blocks(page, "Your own images") for line in block.splitlines()]
    *_, preset, repro, predict = [line.partition("#")[0].split() for line in lines]
    assert [preset, repro] == [["der", "preset", "photos"], ["dvc", "repro"]]
    assert predict == ["der", "predict", "data/checkpoints/1", "PICTURE"]


def test_the_same_weights_in_another_file_train_nothing_and_others_all(pipeline: Pipeline) -> None:
    apply_preset(pipeline)
    pipeline.edit(protocol__first_classes=2, network__tuned="none")
    pipeline.chain(3)
    for one in sorted((pipeline.root / "data/images/train/dog").iterdir())[3:]:
        one.unlink()
    done = pipeline.command("dvc", "repro")
    assert done.returncode == 0
    assert re.search(r"warning: training images of class dog: \d, and classifier learning takes", done.stderr)
    # Where nothing is tuned, DVC's cache has one extractor for all steps.
    steps = [pipeline.root / f"data/checkpoints/{step}/extractor_1.safetensors" for step in (1, 2)]
    assert steps[0].read_bytes() == steps[1].read_bytes()
    assert not steps[1].with_name("extractor_2.safetensors").exists()

    before, weights = pipeline.results(), pipeline.root / "data/weights"
    (weights / "tiny.pth").rename(weights / "moved.pth")
    pipeline.edit(network__weights="data/weights/moved.pth")
    assert pipeline.repro().run == ["check", "initialize", "report"]  # which shows all parameters
    after = pipeline.results()
    assert {path for path in before if after[path] != before[path]} == {"metrics/report.html"}
    tensors = torch.load(weights / "moved.pth", weights_only=True)
    tensors["bn1.bias"] += 1
    torch.save(tensors, weights / "moved.pth")
    assert pipeline.repro("train_task@1").run == ["initialize", "train_task@1"]


def test_images_follow_the_backbone_and_are_decoded_again_only_for_another_side(pipeline: Pipeline) -> None:
    apply_preset(pipeline)
    pipeline.edit(dataset__image_side=None)
    assert "download" in pipeline.repro("split").run
    assert np.load(pipeline.root / "data/raw/train/ant.npy").shape[1:] == (160, 160, 3)
    pipeline.edit(network__backbone="timm:test_resnet", network__weights=None, network__tuned="all")
    assert pipeline.repro("split").run == ["check"]  # of the same side


def test_the_same_pictures_whenever_they_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.examples.programs import load_program

    program = load_program("photos/make_photos.py")
    for place in ("a", "b", "a"):
        monkeypatch.setattr(
            "sys.argv", ["make_photos.py", "star", "circle", "--images", "2", "--to", str(tmp_path / place)]
        )
        program.main()
    assert capsys.readouterr().out.count("there already") == 2
    first, second = (sorted((tmp_path / place).rglob("*.*")) for place in "ab")
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second] and len(first) == 4
    with Image.open(first[0]) as picture:
        assert picture.size in program.SIZES
    monkeypatch.setattr("sys.argv", ["make_photos.py", "cat"])
    with pytest.raises(SystemExit):
        program.main()
