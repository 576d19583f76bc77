"""A frozen network in the pipeline: only new images are computed, and classifiers are fitted anew."""

import re

import numpy as np
from PIL import Image

import der
from tests.model.tiny_timm import BACKBONE, write_weights
from tests.runs.lab import Pipeline, numbered


def add_photos(pipeline: Pipeline, name: str, count: int, seed: int) -> None:
    folder = pipeline.root / "data/images/train" / name
    folder.mkdir(exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (count, 32, 32, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"new{seed}_{number}.png")


def computed(printed: str) -> int:
    """The views that stage features has computed."""
    found = re.search(r"^features: ([\d,]+) views", printed, re.MULTILINE)
    assert found, printed
    return int(found[1].replace(",", ""))


def apply_preset(pipeline: Pipeline) -> None:
    """Preset photos with timm's smallest model, two steps of two classes."""
    pipeline.der("preset", "photos")
    write_weights(pipeline.root / "data/weights").rename(pipeline.root / "data/weights/tiny.pth")
    pipeline.edit(
        dataset__image_side=32,
        network__backbone=BACKBONE,
        network__weights="data/weights/tiny.pth",
        protocol__steps=[["ant", "bee"], ["cat", "dog"]],
    )
    pipeline.chain(2)


def test_each_image_is_computed_once_whatever_is_edited(pipeline: Pipeline) -> None:
    apply_preset(pipeline)
    assert computed(pipeline.succeed("dvc", "repro")) == 4 * (2 * 6 + 2)  # flipped as well, to train on
    one, two = (pipeline.root / f"data/checkpoints/{step}/extractor_1.safetensors" for step in (1, 2))
    assert one.read_bytes() == two.read_bytes() and not two.with_name("extractor_2.safetensors").exists()

    # A new class, and new photos of an old one: they alone are computed; steps that know none of them stay.
    add_photos(pipeline, "eel", 5, seed=1)
    add_photos(pipeline, "cat", 4, seed=2)
    pipeline.edit(protocol__steps=[["ant", "bee"], ["cat", "dog"], ["eel"]])
    pipeline.chain(3)
    printed = pipeline.succeed("dvc", "repro")
    # Images that change sides are known, but perhaps not flipped.
    assert computed(printed) - (2 * 4 + 1) in (4, 5, 6, 7, 8)
    run = re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE)
    assert {*numbered("T2", "T3")} <= {*run} and not {*numbered("T1", "B1", "E1")} & {*run}

    # Photos for a later step, from the time when the network was tuned, come with that step here, too.
    add_photos(pipeline, "ant@3", 3, seed=3)
    printed = pipeline.succeed("dvc", "repro")
    assert computed(printed) == 2 * 3 and not {*numbered("T1", "T2", "E2")} & {
        *re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE)
    }
    grown = [np.load(pipeline.root / f"data/features/{step}/train/ant.npy") for step in (2, 3)]
    assert len(grown[1]) == len(grown[0]) + 3

    # Another order of classes, another classifier: no image is computed.
    pipeline.edit(protocol__steps=[["dog", "bee"], ["cat", "ant"], ["eel"]], train__classifier="lda")
    assert computed(pipeline.succeed("dvc", "repro")) == 0

    assert "(AUROC; some points too high" in (pipeline.root / "metrics/report.html").read_text(
        encoding="utf-8"
    )

    # All of it is what a run from nothing gives, and what the library goes on from.
    assert pipeline.results() == pipeline.from_scratch()
    model = der.load(pipeline.root / "data/checkpoints/2", device="cpu")
    eel, ant = (np.load(pipeline.root / f"data/raw/train/{name}.npy") for name in ("eel", "ant@3"))
    model.partial_fit(np.concatenate([eel, ant]), ["eel"] * len(eel) + ["ant"] * len(ant))
    third = der.load(pipeline.root / "data/checkpoints/3", device="cpu")
    seen = np.concatenate([np.load(file) for file in sorted((pipeline.root / "data/raw/test").glob("*.npy"))])
    assert model.predict_proba(seen).tobytes() == third.predict_proba(seen).tobytes()


def test_a_class_is_renamed_or_removed_without_computing_a_feature(pipeline: Pipeline) -> None:
    apply_preset(pipeline)
    pipeline.repro("evaluate@2")
    before = pipeline.der("predict", "data/checkpoints/2", "data/images/train/cat", "--csv", "--top", "9")
    said = pipeline.der("rename", "cat", "yak").splitlines()
    assert said[0] == "params.yaml: cat is yak" and "no feature is computed again" in said[-1]
    assert computed(pipeline.succeed("dvc", "repro", "evaluate@2")) == 0
    after = pipeline.der("predict", "data/checkpoints/2", "data/images/train/yak", "--csv", "--top", "9")
    assert after == before.replace("/cat/", "/yak/").replace(",cat,", ",yak,")

    said = pipeline.der("remove", "bee", "ant").splitlines()
    assert said[:2] == ["params.yaml: without ant, bee, whose images stay", "chain.yaml: 2 -> 1 steps"]
    assert computed(pipeline.succeed("dvc", "repro", "evaluate@1")) == 0
    assert der.load(pipeline.root / "data/checkpoints/1", device="cpu").classes_.tolist() == ["yak", "dog"]
    for words, sentence in [
        (("rename", "dog", "yak"), "yak: there is such a class; put the images of dog into its folder"),
        (("remove", "dog", "yak"), "these are all classes; leave at least one"),
        (("remove", "bee"), "bee: is in no step; the classes are yak, dog"),
    ]:
        done = pipeline.command("python", "-m", "der", *words, PYTHONPATH="src")
        assert done.returncode == 1 and f"error: {sentence}\n" in done.stderr
    assert (pipeline.root / "data/images/train/dog").is_dir()
