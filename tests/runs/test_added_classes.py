"""The examples of classes that arrive later, run as they stand on the pages, with few epochs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.runs.lab import IMAGES, Pipeline, make_pipeline, numbered, set_parameters, write_images
from tests.runs.pages import blocks

PROTOCOL, LINES = blocks("README.md", "Adding a class")
FIRST, SECOND = LINES.split("der add", 1)
FOLDER, PICTURE = blocks("docs/images.md", "Adding classes later")
(PHOTOS,) = blocks("docs/images.md", "More photos of a known class")
EDITS: dict[str, Any] = {
    "dataset.source": "digits",
    "protocol.first_classes": 4,  # the committed protocol
    "protocol.later_classes": 2,
    "memory.budget": 20,
    **{f"train.{phase}.batch_size": 128 for phase in ("base", "incremental")},
}


def run(pipeline: Pipeline, commands: str) -> tuple[list[str], str]:
    """Run commands in a shell, as users paste them; returns the stages that ran, and the last line."""
    printed = pipeline.shell(commands)
    return re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE), printed.splitlines()[-1]


def test_added_classes(forks: Path | None, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "pipeline", forks)
    set_parameters(pipeline.root / "params.yaml", EDITS)
    pipeline.chain(4)  # number 4 is in no protocol yet: its stages leave markers
    steps = yaml.safe_load(PROTOCOL)["steps"]
    pipeline.edit(protocol__steps=steps)
    stages, _ = run(pipeline, FIRST)
    assert {"T3", "T4"} <= {name.replace("train_task@", "T") for name in stages}
    assert pipeline.succeed("git", "status", "--porcelain") == ""

    before = pipeline.results()
    stages, _ = run(pipeline, f"der add{SECOND}")
    assert sorted(stages) == sorted(
        ["check", "split", "features", *numbered("T4", "B4", "E4", "C4"), "summarize", "report"]
    )
    _, prediction = run(pipeline, PICTURE)
    assert prediction.startswith("nine.png ")
    probabilities = pipeline.succeed(
        "der", "predict", "data/checkpoints/4", "nine.png", "--top", "99", "--csv"
    )
    assert {f"{digit}" for digit in [*range(8), 9]} < set(probabilities.splitlines()[1].split(","))
    after = pipeline.results()
    earlier = [path for path in before if re.search(r"/[0-3](/|\.)", path)]
    assert earlier and all(after[path] == before[path] for path in earlier)

    classes = pipeline.root / "data/tasks/4/test/classes.json"
    known = yaml.safe_load(classes.read_text(encoding="utf-8"))["steps"]
    assert known == [*steps, ["9"]]
    saved = np.asarray(Image.open(pipeline.root / "nine.png"))
    assert np.array_equal(saved, np.load(pipeline.root / "data/tasks/4/test/9.npy")[0, :, :, 0])


def test_a_new_folder_among_known_ones_trains_one_more_step(pipeline: Pipeline) -> None:
    pipeline.chain(3)
    pipeline.succeed("python", "-m", "stages.download")  # here: `der plan` knows the files that it has read
    write_images(pipeline.root / "data/images/train", ["aardvark"])  # first by alphabet
    (pipeline.root / "data/images/train/aardvark/about.txt").touch()
    warned = pipeline.succeed("python", "-m", "stages.check").splitlines()[0]
    assert warned.startswith("warning: new classes (aardvark) move known ones to other steps: step 1 and all")
    before = pipeline.results()
    add, repro = FOLDER.splitlines()
    added = pipeline.shell(add).splitlines()[0]
    assert added == "params.yaml: step 3 is aardvark; the finished steps stay as they were"
    planned = pipeline.plan()
    printed = pipeline.shell(repro)
    ran = re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE)
    expected = [
        "check",
        "download",
        "split",
        "features",
        *numbered("T3", "B3", "E3", "C3"),
        "summarize",
        "report",
    ]
    assert sorted(ran) == sorted(expected) and set(ran) <= set(planned)
    assert not {"train_task@1", "train_task@2"} & set(planned)
    assert "; skipped, by name not pictures: 1\n" in printed
    assert "move known ones" not in printed
    after = pipeline.results()
    earlier = [path for path in before if re.search(r"/[0-2](/|\.)", path)]
    assert earlier and all(after[path] == before[path] for path in earlier)

    # Another picture of a class: what its step and later ones train on.
    write_images(pipeline.root / "more", ["dog"])
    (pipeline.root / "more/dog/0.png").rename(pipeline.root / "data/images/train/dog/more.png")
    assert pipeline.repro("train_task@2").run == ["check", "download", "split", "features", "train_task@2"]


def test_new_photos_of_old_classes_come_with_the_newest_step(pipeline: Pipeline) -> None:
    pipeline.repro()
    pipeline.succeed("python", "-m", "stages.download")
    before, images = pipeline.results(), pipeline.root / "data/images/train"
    write_images(pipeline.root / "more", ["ant", "cat"])
    for name, count in (("ant", 3), ("cat", 1)):  # of step 1, and of the newest
        for index in range(count):
            (pipeline.root / f"more/{name}/{index}.png").rename(images / name / f"more{index}.png")
    assert "train_task@1" in pipeline.plan()
    said = "with `der add --photos`, new photos of ant train step 2 alone"
    assert pipeline.der("plan").splitlines()[-1] == said
    add, repro = PHOTOS.splitlines()
    assert repro.split()[:2] == ["dvc", "repro"] and pipeline.shell(add).splitlines() == [
        "ant: 3 photos moved to ant@2",
        "`der plan` lists what `dvc repro` runs",
    ]
    assert len([*(images / "ant@2").iterdir()]) == 3 and len([*(images / "cat").iterdir()]) == IMAGES + 1

    planned = pipeline.plan()
    ran = pipeline.repro().run
    assert {"download", "split", *numbered("T2", "B2", "E2")} <= {*ran} <= {*planned}
    assert not {*numbered("T1", "B1", "E1")} & {*planned}
    new = np.load(pipeline.root / "data/tasks/2/train/ant.npy")
    assert {image.tobytes() for image in new} == {
        np.asarray(Image.open(file))[..., None].tobytes() for file in (images / "ant@2").iterdir()
    }
    kept, labels = (np.load(pipeline.root / f"data/memory/2/{name}.npy") for name in ("images", "labels"))
    shown = np.concatenate([np.load(pipeline.root / "data/memory/1/images.npy"), new])
    assert {image.tobytes() for image in kept[labels == 0]} <= {image.tobytes() for image in shown}
    after = pipeline.results()
    earlier = [path for path in before if re.search(r"/[01](/|\.)", path)]
    assert earlier and all(after[path] == before[path] for path in earlier)
    assert after == pipeline.from_scratch()

    for words, sentence in [
        (("add", "--photos"), "dataset: no new photos of an earlier step's class, or its other files"),
        (("add", "--photos", "cat"), "cat: no new photos of an earlier step's class, or its other files"),
        (("rename", "ant", "cat@2"), "cat@2: @ marks photos for a later step; give another name"),
        (("rename", "ant", "a/b"), "a class name has 1 to 240 bytes, no dot in front"),
        (("add",), "dataset: every class is in a step already"),
    ]:
        done = pipeline.command("python", "-m", "der", *words, PYTHONPATH="src")
        assert done.returncode == 1 and f"error: {sentence}" in done.stderr
    pipeline.der("rename", "ant", "yak")
    assert {path.name for path in images.iterdir()} == {"yak", "yak@2", "bee", "cat", "dog"}
