"""A bad edit of any kind, under `dvc repro` itself: every file of data/ and metrics/ stays where it is."""

import re

import torch

from tests.model.tiny_timm import BACKBONE
from tests.runs.lab import CLASSES, Pipeline, digests

PARAMS, CHAIN = "params.yaml", "chain.yaml"

# What stage check refuses: file, pattern, replacement and the beginning of the sentence.
REFUSED = {
    "a number as path": (PARAMS, "path: .*", "path: 2024", "dataset.path: 2024 does not fit; write text"),
    "not a number": (PARAMS, "budget: 8", "budget: .nan", "memory.budget: nan does not fit"),
    "a weight": (PARAMS, "(auxiliary_weight): .*", r"\1: true", "train.incremental.auxiliary_weight: True"),
    "an unknown section": (PARAMS, r"\Z", "extra: 1\n", "extra: unknown key"),
    "steps without quotes": (CHAIN, '"2"', "2", "missing or damaged; run `der chain`"),
    "a step on the wrong one": (CHAIN, "previous: 1", "previous: 0", "missing or damaged; run `der chain`"),
}
# What DVC refuses, before any stage; docs/troubleshooting.md has its words.
BEFORE = {
    "no YAML": (PARAMS, "^memory:$", "memory: ["),
    "a tag": (PARAMS, "budget: 8", "budget: !!python/name:os.system 8"),
    "a path that names nothing": (PARAMS, "path: .*", "path: nowhere"),
    "a list as path": (PARAMS, "path: .*", "path: [a]"),
    "a chain that is no YAML": (CHAIN, "^steps:$", "steps: ["),
    "a chain without fields": (CHAIN, ", phase: incremental", ""),
    "a step on itself": (CHAIN, "previous: 1", "previous: 2"),
    "a list as previous": (CHAIN, "previous: 1", "previous: [1]"),
    "a step's name with a slash": (CHAIN, '"2"', '"../2"'),
}


def run_edited(pipeline: Pipeline, path: str, pattern: str, replacement: str) -> tuple[str, str, str]:
    """What `dvc repro` prints and complains of with an edit, then taken back; what `der check` says."""
    file = pipeline.root / path
    good, before = file.read_bytes(), digests(pipeline.root, ["data", "metrics"])
    pipeline.rewrite(path, pattern, replacement)
    done = pipeline.command("dvc", "repro")
    told = pipeline.command("python", "-m", "der", "check", PYTHONPATH="src")
    assert done.returncode != 0 and told.returncode == 1
    assert digests(pipeline.root, ["data", "metrics"]) == before
    file.write_bytes(good)
    return done.stdout, done.stderr, told.stderr


def test_what_check_refuses_leaves_every_result(pipeline: Pipeline) -> None:
    (pipeline.root / "2024").mkdir()
    for name, (path, pattern, replacement, sentence) in REFUSED.items():
        printed, complained, told = run_edited(pipeline, path, pattern, replacement)
        assert f"error: {path}: {sentence}" in complained, name
        assert told.startswith(f"error: {path}: {sentence}") and told.count("\n") == 1, name
        assert re.findall("Running stage '(.+)'", printed) == ["check"], name


def test_what_dvc_refuses_leaves_every_result_and_der_check_says_it_in_a_sentence(pipeline: Pipeline) -> None:
    for name, (path, pattern, replacement) in BEFORE.items():
        printed, complained, told = run_edited(pipeline, path, pattern, replacement)
        assert "Running stage" not in printed and "Traceback" not in complained, name
        assert re.fullmatch(
            rf"error: (dataset\.path|{path}): .+; .+\n|error: {path}: not valid YAML .+\n", told
        )


RESULTS = ["data/raw", "data/tasks", "data/checkpoints", "data/memory", "metrics"]


def test_weights_of_another_network_leave_every_result(pipeline: Pipeline) -> None:
    before = digests(pipeline.root, RESULTS)
    torch.save({"of another network": torch.ones(3)}, pipeline.root / "data/weights/other.pth")
    pipeline.edit(dataset__channels=3, network__backbone=BACKBONE, network__weights="data/weights/other.pth")
    done = pipeline.command("dvc", "repro", "initialize")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check"]
    assert "error: params.yaml: network.weights: data/weights/other.pth: timm:" in done.stderr
    assert digests(pipeline.root, RESULTS) == before


def test_a_side_that_the_backbone_cannot_take_leaves_every_result(pipeline: Pipeline) -> None:
    before = digests(pipeline.root, RESULTS)
    pipeline.edit(dataset__image_side=16, network__backbone="timm:test_convnext")
    done = pipeline.command("dvc", "repro")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check"]
    sentence = (
        r"error: params\.yaml: network\.backbone: timm:test_convnext takes no images of 16 pixels \(.+\); "
    )
    assert re.search(sentence + r"write another dataset\.image_side$", done.stderr, re.MULTILINE)
    assert digests(pipeline.root, RESULTS) == before


def test_pictures_that_are_none_leave_all_but_what_download_makes_which_comes_back(
    pipeline: Pipeline,
) -> None:
    before = digests(pipeline.root, RESULTS)
    broken = pipeline.root / f"data/images/train/{CLASSES[0]}/broken.png"
    broken.write_text("no picture", encoding="utf-8")
    done = pipeline.command("dvc", "repro")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check", "download"]
    assert "broken.png" in done.stderr
    others = {path: digest for path, digest in before.items() if not path.startswith("data/raw")}
    assert digests(pipeline.root, RESULTS) == others
    broken.unlink()
    assert pipeline.repro().run == ["check"]
    assert digests(pipeline.root, RESULTS) == before
