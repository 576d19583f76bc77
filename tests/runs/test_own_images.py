"""Images of one's own: the commands of examples/photos, weights of a file, a source that users write."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.examples.programs import modules
from tests.locations import ROOT
from tests.model.tiny_timm import BACKBONE as BACKBONE_NAME
from tests.model.tiny_timm import write_weights
from tests.runs.lab import CLASSES, Pipeline, digests, numbered
from tests.runs.pages import blocks

PAGE = (ROOT / "examples/photos/README.md").read_text(encoding="utf-8")
SHAPES = ["circle", "pentagon", "square", "triangle"]
BACKBONE = {"network__backbone": BACKBONE_NAME, "network__weights": "data/weights/tiny.pth"}
SHORT = {f"train__{phase}__epochs": 1 for phase in ("base", "incremental")}
SHORT |= {f"train__{phase}__milestones": [] for phase in ("base", "incremental")}
SOURCE = "npz_file.py"


def commands(text: str) -> list[list[str]]:
    return [line.partition("#")[0].split() for line in re.findall(r"^    (.*)$", text, re.MULTILINE)]


def apply_preset(pipeline: Pipeline, name: str = "photos_tuned") -> None:
    """A preset of photos with timm's smallest model and weights that are here, for one epoch."""
    pipeline.der("preset", name)
    write_weights(pipeline.root / "data/weights").rename(pipeline.root / "data/weights/tiny.pth")
    pipeline.edit(**BACKBONE, **SHORT, dataset__image_side=32)


def test_commands_of_the_example(pipeline: Pipeline) -> None:
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
    apply_preset(pipeline, "photos")
    run = pipeline.repro("evaluate@1").run
    assert {"initialize", "download", "features", *numbered("T1", "E1")} <= set(run)
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
    # Images follow the backbone, and are decoded again only for another side.
    pipeline.edit(dataset__image_side=None)
    assert "download" in pipeline.repro("split").run
    assert np.load(pipeline.root / "data/raw/train/ant.npy").shape[1:] == (160, 160, 3)
    pipeline.edit(network__backbone="timm:test_resnet", network__weights=None, network__tuned="all")
    assert pipeline.repro("split").run == ["check"]  # of the same side

    pipeline.edit(**BACKBONE, dataset__image_side=32, protocol__first_classes=2, network__tuned="last")
    pipeline.edit(train__incremental__rebalancing="classifier_learning")
    pipeline.chain(3)
    for one in sorted((pipeline.root / "data/images/train/dog").iterdir())[3:]:
        one.unlink()
    done = pipeline.command("dvc", "repro", "train_task@3")
    assert done.returncode == 0
    assert re.search(r"warning: training images of class dog: \d, so classifier learning takes", done.stderr)

    before, weights = pipeline.results(), pipeline.root / "data/weights"
    (weights / "tiny.pth").rename(weights / "moved.pth")
    pipeline.edit(network__weights="data/weights/moved.pth")
    assert pipeline.repro("train_task@3").run == ["check", "initialize"]
    assert pipeline.results() == before
    tensors = torch.load(weights / "moved.pth", weights_only=True)
    tensors["bn1.bias"] += 1
    torch.save(tensors, weights / "moved.pth")
    assert pipeline.repro("train_task@1").run == ["initialize", "features", "train_task@1"]


def test_an_edit_of_a_source_runs_what_it_reaches(pipeline: Pipeline) -> None:
    """A source of docs/extending.md: its module belongs to the stage that runs it alone."""
    folder = pipeline.root / "data/images"
    files = [file for name in CLASSES for file in sorted((folder / "train" / name).iterdir())]
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    np.savez(folder / "mine.npz", images=images, labels=[file.parent.name for file in files])
    (pipeline.root / "src" / SOURCE).write_text(modules()[SOURCE], encoding="utf-8")
    pipeline.edit(dataset__source="npz_file:npz", dataset__path="data/images/mine.npz")
    assert pipeline.repro("split").run == ["check", "download", "split"]
    before = digests(pipeline.root, ["data/raw"])
    pipeline.rewrite(f"src/{SOURCE}", "# sorted$", "# in order")
    assert pipeline.repro("split").run == ["check"]
    pipeline.rewrite(f"src/{SOURCE}", r"np\.unique\(labels\)", "sorted(set(labels))")
    assert pipeline.repro("split").run == ["check", "download"]
    assert digests(pipeline.root, ["data/raw"]) == before

    # Only its images tell its classes: a wrong one ends stage split, whose outputs the cache brings back.
    results, params = pipeline.results(), pipeline.root / "params.yaml"
    right = params.read_text(encoding="utf-8")
    pipeline.edit(protocol__steps=[["ant", "bee"], ["cta"]])
    done = pipeline.command("dvc", "repro")
    assert "'cta' is no class of the data set; it has ant" in done.stderr
    left = pipeline.results()
    assert left.items() <= results.items() and all(
        name.startswith("data/tasks") for name in {*results} - {*left}
    )
    params.write_text(right, encoding="utf-8")
    assert pipeline.repro("split").run == ["check"]
    assert pipeline.results() == results
