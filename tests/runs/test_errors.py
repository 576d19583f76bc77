"""What users can put right ends a stage with status 1 and one line, and leaves every result as it was."""

import json
import re
import shutil

import torch

from der.core.files import seal
from tests.model.tiny_timm import BACKBONE
from tests.runs.lab import CLASSES, Pipeline, digests

PARAMS, CHAIN = "params.yaml", "chain.yaml"
RESULTS = ["data/raw", "data/tasks", "data/checkpoints", "data/memory", "metrics"]

# Edits under `dvc repro`: file, pattern, replacement, and the sentence of `der check`, which stage check ends
# with; None, where DVC refuses before any stage runs (docs/troubleshooting.md has its words).
# All that `der check` says stands in tests/pipeline/test_checks.py.
TOO_MANY = "first_classes: 1\n  later_classes: 1"
EDITS: dict[str, tuple[str, str, str, str | None]] = {
    "a key": (PARAMS, "^  budget: 8$", "  bugdet: 9", r"params\.yaml: memory\.bugdet: unknown key; "),
    "steps": (PARAMS, TOO_MANY.replace("1", "2"), TOO_MANY, r"protocol: 4 steps, but chain\.yaml holds 2; "),
    "no YAML": (PARAMS, "^memory:$", "memory: [", None),
    "a path that names nothing": (PARAMS, "path: .*", "path: nowhere", None),
    "a step on itself": (CHAIN, "previous: 1", "previous: 2", None),
    "a step's name with a slash": (CHAIN, '"2"', '"../2"', None),
}
DAMAGED = "damaged, its bytes are not those that were written"
MEND = "run `der verify --repair`, then `dvc repro`"


def assert_refuses(pipeline: Pipeline, script: str, message: str, **environment: str) -> None:
    """The script fails with this one line (a regular expression), and no file is made, changed or lost."""
    before = digests(pipeline.root)
    done = pipeline.command("python", "-m", *script.split(), **environment)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(f"error: {message}\n", done.stderr), done.stderr
    assert digests(pipeline.root) == before


def test_refused_edits_leave_every_result(pipeline: Pipeline) -> None:
    before = digests(pipeline.root, ["data", "metrics"])
    for name, (path, pattern, replacement, sentence) in EDITS.items():
        file = pipeline.root / path
        good = file.read_bytes()
        pipeline.rewrite(path, pattern, replacement)
        done = pipeline.command("dvc", "repro")
        assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr, name
        assert sentence is None or re.search(f"^error: {sentence}", done.stderr, re.MULTILINE), name
        assert re.findall("Running stage '(.+)'", done.stdout) == (["check"] if sentence else []), name
        if sentence is None:
            told = pipeline.command("python", "-m", "der", "check", PYTHONPATH="src")
            assert told.returncode == 1 and re.fullmatch("error: .+\n", told.stderr), name
        file.write_bytes(good)
    assert digests(pipeline.root, ["data", "metrics"]) == before


def test_code_and_a_network_that_do_not_fit_leave_every_result(pipeline: Pipeline) -> None:
    before = digests(pipeline.root, RESULTS)
    torch.save({"of another network": torch.ones(3)}, pipeline.root / "data/weights/other.pth")
    pipeline.edit(dataset__channels=3, network__backbone=BACKBONE, network__weights="data/weights/other.pth")
    done = pipeline.command("dvc", "repro", "initialize")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check"]
    assert "network.weights: data/weights/other.pth: not the weights of timm:" in done.stderr
    pipeline.edit(dataset__image_side=16, network__backbone="timm:test_convnext", network__weights=None)
    done = pipeline.command("dvc", "repro")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["check"]
    assert (
        "error: params.yaml: network.backbone: timm:test_convnext takes no images of 16 pixels" in done.stderr
    )
    (pipeline.root / "src/der/train/objective.py").write_text("def", encoding="utf-8")
    done = pipeline.command("dvc", "repro")
    assert "error: src/der/train/objective.py: cannot be parsed (invalid syntax" in done.stderr
    assert digests(pipeline.root, RESULTS) == before


def test_stages_by_themselves(pipeline: Pipeline) -> None:
    chain, params = ((pipeline.root / name).read_bytes() for name in (CHAIN, PARAMS))
    (pipeline.root / CHAIN).write_text("steps: [\n", encoding="utf-8")
    for script in ("stages.split", "stages", "der preset digits_masks"):
        message = r"chain\.yaml: missing or damaged; run `der chain`"
        assert_refuses(pipeline, script, message, PYTHONPATH="src")
    pipeline.der("chain", "2")  # needs no chain that can be read
    assert (pipeline.root / CHAIN).read_bytes() == chain
    message = r"DER_DEVICE: 'abacus' is no device; write cuda, mps or cpu"
    assert_refuses(pipeline, "stages.evaluate 1", message, DER_DEVICE="abacus")

    pipeline.edit(memory__budget=3)  # a stage by itself, which check has not seen
    message = r"memory\.budget: 3 leaves no exemplar for each of 4 classes; write at least 4"
    assert_refuses(pipeline, "stages.build_memory 2", message)
    (pipeline.root / PARAMS).unlink()
    assert_refuses(pipeline, "stages.split", r"params\.yaml: not found; run from the repository's root")
    (pipeline.root / PARAMS).write_bytes(params)

    # Steps that are skipped, but were trained with other parameters.
    pipeline.edit(train__incremental__momentum=0.5)
    done = pipeline.command("python", "-m", "stages", "--start-at", "evaluate@2")
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["check"]
    message = "trained with other parameters than params.yaml has; run `dvc repro` first"
    assert done.stderr == f"error: data/checkpoints/2/network.json: {message}\n"

    pipeline.edit(train__base__learning_rate=1e30)
    shutil.rmtree(pipeline.root / "data/checkpoints/1")
    message = r"step 1, representation, epoch 1: the loss is -?(nan|inf); lower the learning rate.*"
    assert_refuses(pipeline, "stages.train_task 1", message)
    assert sorted(path.name for path in (pipeline.root / "data/checkpoints").iterdir()) == ["0", "2"]


def test_damaged_and_wrong_inputs(pipeline: Pipeline) -> None:
    for script, path in (
        ("stages.split", "data/raw/train/manifest.json"),
        ("stages.train_task 1", "data/tasks/1/train/ant.npy"),
        ("stages.train_task 2", "data/checkpoints/1/extractor_1.safetensors"),
        ("stages.build_memory 2", "data/memory/1/images.npy"),
        ("stages.evaluate 1", "data/checkpoints/1/network.json"),
        ("stages.summarize", "metrics/steps/2/confusion.csv"),
        ("stages.report", "metrics/steps/2/mistakes.npy"),
    ):
        file = pipeline.root / path
        content = file.read_bytes()
        file.unlink()  # which may be a link into DVC's cache
        file.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])  # of a manifest, a digest
        assert_refuses(pipeline, script, rf"{re.escape(path)}: {DAMAGED}; {MEND}")
        file.write_bytes(content)

    for script, part in (("stages.build_memory 2", "train"), ("stages.evaluate 2", "test")):
        folder = pipeline.root / "data/tasks/2" / part
        classes = folder / "classes.json"
        steps = json.loads(classes.read_text(encoding="utf-8"))["steps"]
        classes.write_text(json.dumps({"steps": [steps[0], steps[1][::-1]]}), encoding="utf-8")
        seal(folder, {})
        message = r"data/checkpoints/2: of other classes than the protocol's; train its step again"
        assert_refuses(pipeline, script, message)


def test_results_that_are_missing(pipeline: Pipeline) -> None:
    (pipeline.root / "metrics/summary.json").write_text("{}", encoding="utf-8")
    message = r"metrics/summary\.json: no summary of steps; run `dvc repro`"
    assert_refuses(pipeline, "der show", message, PYTHONPATH="src")
    shutil.rmtree(pipeline.root / "metrics")
    for script in ("stages.summarize", "stages.report"):
        assert_refuses(pipeline, script, r"metrics/steps/1: no metrics; run `dvc repro`")
    message = r"metrics/summary\.json: no results yet; run `dvc repro`"
    assert_refuses(pipeline, "der show", message, PYTHONPATH="src")
    shutil.rmtree(pipeline.root / "data/raw")
    missing = r"data/raw/train/manifest\.json: cannot be read as JSON \(.+\)"
    assert_refuses(pipeline, "stages.split", f"{missing}; {MEND}")


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
