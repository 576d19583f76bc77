"""What users can put right ends a stage with status 1 and one line, and leaves every result as it was."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from der.core.sealed import seal
from tests.model.tiny_timm import BACKBONE
from tests.runs.lab import CLASSES, Pipeline, digests

PARAMS, CHAIN = "params.yaml", "chain.yaml"
RESULTS = ["data/raw", "data/tasks", "data/checkpoints", "data/memory", "metrics"]

# Edits that stage check refuses under `dvc repro`: file, pattern, replacement, the beginning of the sentence.
REFUSED = {
    "an unknown key": (
        PARAMS,
        "^  budget: 8$",
        "  budget: 8\n  bugdet: 9",
        "memory.bugdet: unknown key; did you",
    ),
    "a missing key": (PARAMS, "^  budget: 8\n", "", "memory.budget: missing; add it with a whole number"),
    "a missing section": (
        PARAMS,
        "^evaluate:\n.*\n",
        "",
        "evaluate: missing; add it with the keys group_labels",
    ),
    "an unknown section": (PARAMS, r"\Z", "extra: 1\n", "extra: unknown key"),
    "a word for a number": (PARAMS, "budget: 8", "budget: many", "memory.budget: 'many' does not fit; write"),
    "not a number": (PARAMS, "budget: 8", "budget: .nan", "memory.budget: nan does not fit"),
    "out of range": (PARAMS, "budget: 8", "budget: 0", "memory.budget: 0 is out of range; write a number"),
    "true for a weight": (
        PARAMS,
        "(auxiliary_weight): .*",
        r"\1: true",
        "train.incremental.auxiliary_weight: True",
    ),
    "two sections": (
        PARAMS,
        "mean: null\n  std: null",
        "mean: [0.5, 0.5]\n  std: [0.5, 0.5]",
        "network.mean: 2 val",
    ),
    "a number as path": (PARAMS, "path: .*", "path: 2024", "dataset.path: 2024 does not fit; write text"),
    "a budget for no class": (
        PARAMS,
        "budget: 8",
        "budget: 3",
        "memory.budget: 3 leaves no exemplar for each of 4",
    ),
    "an unknown class": (
        PARAMS,
        "steps: null",
        "steps: [[ant], [elk]]",
        "protocol.steps: 'elk' is no class of the",
    ),
    "too many steps": (
        PARAMS,
        "first_classes: 2\n  later_classes: 2",
        "first_classes: 1\n  later_classes: 1",
        None,
    ),
    "steps without quotes": (CHAIN, '"2"', "2", "missing or damaged; run `der chain`"),
    "a step on the wrong one": (CHAIN, "previous: 1", "previous: 0", "missing or damaged; run `der chain`"),
}
# Edits that DVC refuses before any stage runs; docs/troubleshooting.md has its words.
BEFORE = {
    "no YAML": (PARAMS, "^memory:$", "memory: ["),
    "a tag": (PARAMS, "budget: 8", "budget: !!python/name:os.system 8"),
    "a path that names nothing": (PARAMS, "path: .*", "path: nowhere"),
    "a list as path": (PARAMS, "path: .*", "path: [a]"),
    "a chain that is no YAML": (CHAIN, "^steps:$", "steps: ["),
    "a chain without fields": (CHAIN, ", phase: incremental", ""),
    "a step on itself": (CHAIN, "previous: 1", "previous: 2"),
    "a step's name with a slash": (CHAIN, '"2"', '"../2"'),
}


def assert_refuses(pipeline: Pipeline, script: str, message: str, **environment: str) -> None:
    """The script fails with this one line (a regular expression), and no file is made, changed or lost."""
    before = digests(pipeline.root)
    done = pipeline.command("python", "-m", *script.split(), **environment)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(f"error: {message}\n", done.stderr), done.stderr
    assert digests(pipeline.root) == before


def run_edited(pipeline: Pipeline, path: str, pattern: str, replacement: str) -> tuple[str, str, str]:
    """What `dvc repro` prints and complains of with an edit, then taken back; what `der check` says."""
    file = pipeline.root / path
    good, before = file.read_bytes(), digests(pipeline.root, ["data", "metrics"])
    pipeline.rewrite(path, pattern, replacement)
    done = pipeline.command("dvc", "repro")
    told = pipeline.command("python", "-m", "der", "check", PYTHONPATH="src")
    assert done.returncode != 0 and told.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert digests(pipeline.root, ["data", "metrics"]) == before
    file.write_bytes(good)
    return done.stdout, done.stderr, told.stderr


def test_what_check_refuses_leaves_every_result(pipeline: Pipeline) -> None:
    (pipeline.root / "2024").mkdir()
    for name, (path, pattern, replacement, sentence) in REFUSED.items():
        printed, complained, told = run_edited(pipeline, path, pattern, replacement)
        expected = (
            f"error: {path}: {sentence}"
            if sentence
            else "error: protocol: 4 steps, but chain.yaml holds 3; run `der chain 4`"
        )
        assert expected in complained, name
        assert told.startswith(expected) and told.count("\n") == 1, name
        assert re.findall("Running stage '(.+)'", printed) == ["check"], name


def test_what_dvc_refuses_leaves_every_result_and_der_check_says_it_in_a_sentence(pipeline: Pipeline) -> None:
    for name, (path, pattern, replacement) in BEFORE.items():
        printed, _, told = run_edited(pipeline, path, pattern, replacement)
        assert "Running stage" not in printed, name
        assert re.fullmatch(
            rf"error: (dataset\.path|{path}): .+; .+\n|error: {path}: not valid YAML .+\n", told
        )


def test_code_that_cannot_be_parsed_leaves_every_result(pipeline: Pipeline) -> None:
    before = digests(pipeline.root, RESULTS)
    (pipeline.root / "src/der/train/objective.py").write_text("def", encoding="utf-8")
    done = pipeline.command("dvc", "repro")
    assert "error: src/der/train/objective.py: cannot be parsed (invalid syntax" in done.stderr
    assert digests(pipeline.root, RESULTS) == before


def test_a_network_that_does_not_fit_leaves_every_result(pipeline: Pipeline) -> None:
    before = digests(pipeline.root, RESULTS)
    torch.save({"of another network": torch.ones(3)}, pipeline.root / "data/weights/other.pth")
    pipeline.edit(dataset__channels=3, network__backbone=BACKBONE, network__weights="data/weights/other.pth")
    done = pipeline.command("dvc", "repro", "initialize")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check"]
    assert "error: params.yaml: network.weights: data/weights/other.pth: timm:" in done.stderr
    pipeline.edit(dataset__image_side=16, network__backbone="timm:test_convnext", network__weights=None)
    done = pipeline.command("dvc", "repro")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check"]
    assert (
        "error: params.yaml: network.backbone: timm:test_convnext takes no images of 16 pixels" in done.stderr
    )
    assert digests(pipeline.root, RESULTS) == before


def test_a_damaged_chain_is_mended_by_its_command(pipeline: Pipeline) -> None:
    (pipeline.root / CHAIN).write_text("steps: [\n", encoding="utf-8")
    for script in ("stages.check", "stages.split", "stages.summarize", "stages", "der preset digits_masks"):
        message = r"chain\.yaml: missing or damaged; run `der chain`"
        assert_refuses(pipeline, script, message, PYTHONPATH="src")
    pipeline.der("chain", "2")  # needs no chain that can be read
    done = pipeline.command("python", "-m", "der", "chain", "0", PYTHONPATH="src")
    assert done.returncode == 2 and re.search(r"error: .*N: ", done.stderr)


def test_what_depends_on_the_surroundings(pipeline: Pipeline) -> None:
    message = r"DER_DEVICE: 'abacus' is no device; write cuda, mps or cpu"
    assert_refuses(pipeline, "stages.evaluate 1", message, DER_DEVICE="abacus")
    pipeline.edit(memory__budget=3)  # a stage by itself, which check has not seen
    message = r"memory\.budget: 3 leaves no exemplar for each of 4 classes; write at least 4"
    assert_refuses(pipeline, "stages.build_memory 2", message)
    (pipeline.root / PARAMS).unlink()
    assert_refuses(pipeline, "stages.split", r"params\.yaml: not found; run from the repository's root")


def test_diverging_training_leaves_no_checkpoint(pipeline: Pipeline) -> None:
    pipeline.edit(train__base__learning_rate=1e30)
    shutil.rmtree(pipeline.root / "data/checkpoints/1")
    message = r"step 1, representation, epoch 1: the loss is -?(nan|inf); lower the learning rate.*"
    assert_refuses(pipeline, "stages.train_task 1", message)
    assert sorted(path.name for path in (pipeline.root / "data/checkpoints").iterdir()) == ["0", "2", "3"]


DAMAGED = "damaged, its bytes are not those that were written"
MEND = "run `der verify --repair`, then `dvc repro`"


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("stages.split", "data/raw/train/manifest.json"),
        ("stages.train_task 1", "data/tasks/1/train/ant.npy"),
        ("stages.train_task 2", "data/checkpoints/1/extractor_1.safetensors"),
        ("stages.build_memory 2", "data/memory/1/images.npy"),
        ("stages.evaluate 1", "data/checkpoints/1/network.json"),
        ("stages.evaluate 3", "data/tasks/3/test/manifest.json"),
        ("stages.summarize", "metrics/steps/2/confusion.csv"),
        ("stages.summarize", "metrics/training/1/log.csv"),
        ("stages.report", "metrics/steps/2/mistakes.npy"),
        ("stages.report", "data/fingerprints/report"),
    ],
)
def test_damaged_input(script: str, path: str, pipeline: Pipeline) -> None:
    file = pipeline.root / path
    content = bytearray(file.read_bytes())
    content[-20] ^= 1  # of a manifest, in a digest
    file.unlink()
    file.write_bytes(content)
    assert_refuses(pipeline, script, rf"{re.escape(path)}: {DAMAGED}; {MEND}")


@pytest.mark.parametrize("script", ["stages.build_memory 2", "stages.evaluate 2"])
def test_classes_that_are_none_or_not_the_network_s(script: str, pipeline: Pipeline) -> None:
    folder = pipeline.root / "data/tasks/2" / ("test" if "evaluate" in script else "train")
    classes = folder / "classes.json"
    steps = json.loads(classes.read_text(encoding="utf-8"))["steps"]
    classes.write_text("{}", encoding="utf-8")
    seal(folder, {})
    place = rf"data/tasks/2/{folder.name}/classes\.json"
    assert_refuses(pipeline, script, rf"{place}: not the classes of 2 steps; run `dvc repro`")
    classes.write_text(json.dumps({"steps": [steps[0], steps[1][::-1]]}), encoding="utf-8")
    seal(folder, {})
    message = r"data/checkpoints/2: of other classes than the protocol's; train its step again"
    assert_refuses(pipeline, script, message)


def test_steps_that_are_skipped_but_of_other_parameters(pipeline: Pipeline) -> None:
    pipeline.edit(train__incremental__momentum=0.5)
    message = "trained with other parameters than params.yaml has; run `dvc repro` first"
    for start in ("evaluate@2", "train_task@3"):
        done = pipeline.command("python", "-m", "stages", "--start-at", start)
        assert done.returncode == 1
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["check"]
        assert done.stderr == f"error: data/checkpoints/2/network.json: {message}\n"
    assert "train_task 2: " in pipeline.succeed("python", "-m", "stages", "--start-at", "train_task@2")


def test_results_that_are_missing(pipeline: Pipeline) -> None:
    (pipeline.root / "metrics/summary.json").write_text("{}", encoding="utf-8")
    message = r"metrics/summary\.json: no summary of steps; run `dvc repro`"
    assert_refuses(pipeline, "der show", message, PYTHONPATH="src")
    shutil.rmtree(pipeline.root / "metrics")
    assert_refuses(pipeline, "stages.summarize", r"metrics/steps/1: no metrics; run `dvc repro`")
    assert_refuses(pipeline, "stages.report", r"metrics/steps/1: no metrics; run `dvc repro`")
    message = r"metrics/summary\.json: no results yet; run `dvc repro`"
    assert_refuses(pipeline, "der show", message, PYTHONPATH="src")
    shutil.rmtree(pipeline.root / "data/raw")
    missing = r"data/raw/train/manifest\.json: cannot be read as JSON \(.+\)"
    assert_refuses(pipeline, "stages.split", f"{missing}; {MEND}")


def damage_picture(images: Path) -> None:
    file = images / "train/bee/3.png"
    file.write_bytes(file.read_bytes()[:40])


def leave_class_without_test_images(images: Path) -> None:
    for name in CLASSES[:-1]:
        shutil.copytree(images / "train" / name, images / "test" / name)


def leave_one_class(images: Path) -> None:
    for name in CLASSES[1:]:
        shutil.rmtree(images / "train" / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damage_picture, r"data/images/train/bee/3\.png: cannot be read as a picture; .+"),
        (
            leave_class_without_test_images,
            r"data/images/test/dog: the class has no test images; add some there",
        ),
        (leave_one_class, r"data/images: has 1 of the two classes that are needed; add .+"),
        (shutil.rmtree, r"data/images: there is no such directory or archive; .+"),
    ],
    ids=["unreadable picture", "no test images", "one class", "no images"],
)
def test_bad_images_leave_no_raw_data(
    spoil: Callable[[Path], None], message: str, pipeline: Pipeline
) -> None:
    spoil(pipeline.root / "data/images")
    assert_refuses(pipeline, "stages.download", message)  # what an earlier run left stays
    shutil.rmtree(pipeline.root / "data/raw")
    assert_refuses(pipeline, "stages.download", message)
    assert not list((pipeline.root / "data").glob("raw*"))


def test_after_a_picture_that_is_none_all_comes_back(pipeline: Pipeline) -> None:
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
