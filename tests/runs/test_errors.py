"""What users can put right ends a stage with status 1 and one line, and leaves everything as it was."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from der.core.sealed import seal
from tests.runs.lab import CLASSES, Pipeline, digests


def run_script(pipeline: Pipeline, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return pipeline.command("python", "-m", *script.split(), **environment)


def assert_refuses(pipeline: Pipeline, script: str, message: str, **environment: str) -> None:
    """The script fails with this one line (a regular expression), and no file is made, changed or lost."""
    before = digests(pipeline.root)
    done = run_script(pipeline, script, **environment)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(f"error: {message}\n", done.stderr), done.stderr
    assert digests(pipeline.root) == before


def replace_line(pattern: str, replacement: str) -> Callable[[str], str]:
    """An edit of params.yaml as text; the pattern must be there."""

    def edit(text: str) -> str:
        changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        assert count
        return changed

    return edit


BAD_PARAMETERS = {
    "unknown key": (
        replace_line(r"^  budget: 8$", "  budget: 8\n  bugdet: 9"),
        r"params\.yaml: memory\.bugdet: unknown key; did you mean budget\?",
    ),
    "missing key": (
        replace_line(r"^  budget: 8\n", ""),
        r"params\.yaml: memory\.budget: missing; add it with a whole number",
    ),
    "missing section": (
        replace_line(r"^evaluate:\n  group_labels: 10\n", ""),
        r"params\.yaml: evaluate: missing; add it with the keys group_labels",
    ),
    "wrong type": (
        replace_line(r"^  budget: 8$", "  budget: many"),
        r"params\.yaml: memory\.budget: 'many' does not fit; write a whole number",
    ),
    "out of range": (
        replace_line(r"^  budget: 8$", "  budget: 0"),
        r"params\.yaml: memory\.budget: 0 is out of range; write a number of at least 1 and at most \d+",
    ),
    "nested": (
        replace_line(r"^    momentum: 0\.9$", "    momentum: 9"),
        r"params\.yaml: train\.base\.momentum: 9 is out of range; "
        r"write a number of at least 0 and at most 1",
    ),
    "no YAML": (replace_line(r"^memory:$", "memory: ["), r"params\.yaml: not valid YAML \(.+\)"),
    "empty": (
        lambda text: "",
        r"params\.yaml: holds no keys and values; restore it with `git checkout params\.yaml`",
    ),
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameters(name: str, pipeline: Pipeline) -> None:
    edit, message = BAD_PARAMETERS[name]
    file = pipeline.root / "params.yaml"
    file.write_text(edit(file.read_text(encoding="utf-8")), encoding="utf-8")
    assert_refuses(pipeline, "stages.check", message)


def test_elsewhere_than_at_the_root(pipeline: Pipeline) -> None:
    (pipeline.root / "params.yaml").unlink()
    assert_refuses(pipeline, "stages.split", r"params\.yaml: not found; run from the repository's root")


BAD_EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "a range": ({"memory__budget": 0}, "params.yaml: memory.budget: 0 is out of range"),
    "a type": ({"train__masks": True}, "params.yaml: train.masks: True does not fit"),
    "two sections": (
        {"network__mean": [0.5, 0.5], "network__std": [0.5, 0.5]},
        "params.yaml: network.mean: 2 values",
    ),
    "a budget for no class": (
        {"memory__budget": 3},
        "params.yaml: memory.budget: 3 leaves no exemplar for each of 4 classes",
    ),
    "too many steps": (
        {"protocol__first_classes": 1, "protocol__later_classes": 1},
        "protocol: 4 steps, but chain.yaml holds 3; run `der chain 4`",
    ),
    "an unknown class": (
        {"protocol__steps": [["ant"], ["elk"]]},
        "params.yaml: protocol.steps: 'elk' is no class of the data set",
    ),
}


def test_bad_edits_leave_every_result_where_it_is(pipeline: Pipeline) -> None:
    params = pipeline.root / "params.yaml"
    before, good = digests(pipeline.root, ["data", "metrics"]), params.read_bytes()
    for name, (values, message) in BAD_EDITS.items():
        pipeline.edit(**values)
        done = pipeline.command("dvc", "repro")
        assert done.returncode != 0, name
        assert f"error: {message}" in done.stderr, name
        assert "Traceback" not in done.stdout + done.stderr, name
        assert re.findall("Running stage '(.+)'", done.stdout) == ["check"], name
        assert digests(pipeline.root, ["data", "metrics"]) == before, name
        params.write_bytes(good)
    (pipeline.root / "src/der/memory/herding.py").write_text("def", encoding="utf-8")
    done = pipeline.command("dvc", "repro")
    assert (
        "error: src/der/memory/herding.py: cannot be parsed (invalid syntax (<unknown>, line 1))"
        in done.stderr
    )
    assert digests(pipeline.root, ["data", "metrics"]) == before


def test_protocol_longer_than_the_chain(pipeline: Pipeline) -> None:
    pipeline.edit(protocol__first_classes=1, protocol__later_classes=1)
    message = r"protocol: 4 steps, but chain\.yaml holds 3; run `der chain 4`"
    for script in ("stages.check", "stages.split"):
        assert_refuses(pipeline, script, message)
    pipeline.der("chain")  # which finds the same number
    pipeline.succeed("python", "-m", "stages.split")
    assert (pipeline.root / "data/tasks/4/train/dog.npy").exists()


@pytest.mark.parametrize(
    "script", ["stages.check", "stages.split", "stages.summarize", "stages", "der preset digits_masks"]
)
def test_damaged_chain(script: str, pipeline: Pipeline) -> None:
    (pipeline.root / "chain.yaml").write_text("steps: [\n", encoding="utf-8")
    assert_refuses(pipeline, script, r"chain\.yaml: missing or damaged; run `der chain`", PYTHONPATH="src")
    pipeline.der("chain", "2")  # needs no chain that can be read


@pytest.mark.parametrize("length", ["0", "-1", "many"])
def test_chain_of_no_length(length: str, pipeline: Pipeline) -> None:
    before = digests(pipeline.root)
    done = pipeline.command("python", "-m", "der", "chain", length, PYTHONPATH="src")
    assert done.returncode == 2
    assert re.search(r"error: .*N: ", done.stderr)
    assert digests(pipeline.root) == before


def test_unknown_device(pipeline: Pipeline) -> None:
    message = r"DER_DEVICE: 'abacus' is no device; write cuda, mps or cpu"
    assert_refuses(pipeline, "stages.evaluate 1", message, DER_DEVICE="abacus")


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


def test_summary_that_is_none(pipeline: Pipeline) -> None:
    (pipeline.root / "metrics/summary.json").write_text("{}", encoding="utf-8")
    assert_refuses(
        pipeline, "der show", r"metrics/summary\.json: no summary of steps; run `dvc repro`", PYTHONPATH="src"
    )


@pytest.mark.parametrize("script", ["stages.check", "stages.split", "stages.build_memory 2"])
def test_budget_below_the_number_of_classes(script: str, pipeline: Pipeline) -> None:
    pipeline.edit(memory__budget=3)
    where = r"params\.yaml: " if script == "stages.check" else ""
    message = r"memory\.budget: 3 leaves no exemplar for each of 4 classes; write at least 4"
    assert_refuses(pipeline, script, where + message)


def test_steps_that_are_skipped_but_of_other_parameters(pipeline: Pipeline) -> None:
    pipeline.edit(train__incremental__momentum=0.5)
    message = "trained with other parameters than params.yaml has; run `dvc repro` first"
    for start in ("evaluate@2", "train_task@3"):
        done = pipeline.command("python", "-m", "stages", "--start-at", start)
        assert done.returncode == 1
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["check"]
        assert done.stderr == f"error: data/checkpoints/2/network.json: {message}\n"
    assert "train_task 2: " in pipeline.succeed("python", "-m", "stages", "--start-at", "train_task@2")


def test_split_without_data(pipeline: Pipeline) -> None:
    shutil.rmtree(pipeline.root / "data/raw")
    missing = r"data/raw/train/manifest\.json: cannot be read as JSON \(.+\)"
    assert_refuses(pipeline, "stages.split", f"{missing}; {MEND}")


def test_summary_without_metrics(pipeline: Pipeline) -> None:
    shutil.rmtree(pipeline.root / "metrics")
    assert_refuses(pipeline, "stages.summarize", r"metrics/steps/1: no metrics; run `dvc repro`")
    assert_refuses(pipeline, "stages.report", r"metrics/steps/1: no metrics; run `dvc repro`")
    assert_refuses(
        pipeline, "der show", r"metrics/summary\.json: no results yet; run `dvc repro`", PYTHONPATH="src"
    )


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
