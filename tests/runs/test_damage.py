"""Bits that flip, in DVC's cache or among results: never a wrong number, mended by what the message says."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from tests.runs.lab import Pipeline, numbered

SAID = "damaged, its bytes are not those that were written; run `der verify --repair`, then `dvc repro`"
KINDS = (  # a file of each kind that a stage reads
    *("data/raw/test/bee.npy", "data/raw/train/manifest.json", "data/tasks/2/test/classes.json"),
    *("data/checkpoints/0/network.json", "data/checkpoints/1/extractor_1.safetensors", "data/input.json"),
    *("data/memory/1/labels.npy", "data/memory/2/images.npy", "metrics/steps/1/metrics.json"),
    *("metrics/steps/2/confusion.csv", "metrics/training/2/log.csv"),
)


def flip(path: Path) -> None:
    """Flip a bit near the end in place; size, mode and times stay."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        (byte,) = stream.read(1)
        stream.seek(-2, os.SEEK_END)
        stream.write(bytes([byte ^ 1]))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cached(pipeline: Pipeline, path: str) -> Path:
    """The object of DVC's cache for a file."""
    digest = hashlib.md5((pipeline.root / path).read_bytes()).hexdigest()
    return pipeline.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def verify(pipeline: Pipeline, *words: str) -> tuple[int, list[str]]:
    """The exit status of `der verify`, and the lines that it printed."""
    done = pipeline.command("python", "-m", "der", "verify", *words, PYTHONPATH="src")
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()


def top1(pipeline: Pipeline) -> float:
    metrics = json.loads((pipeline.root / "metrics/steps/1/metrics.json").read_text())
    return float(metrics["top1"])


def evaluate_refuses(pipeline: Pipeline, labels: int, path: str) -> None:
    """Evaluation of step 1 stops at a file, and goes on after what it says."""
    pipeline.edit(evaluate__group_labels=labels)
    done = pipeline.command("dvc", "repro", "evaluate@1")
    assert done.returncode != 0
    assert f"error: {path}: {SAID}\n" in done.stderr
    status, lines = verify(pipeline)
    assert status == 1 and any(line.startswith(f"{path}: damaged") for line in lines)
    assert verify(pipeline, "--repair")[0] == 0
    pipeline.succeed("dvc", "repro", "evaluate@1")


def test_neither_a_damaged_cache_nor_a_damaged_file_gives_a_wrong_number(
    base: Pipeline, pipeline: Pipeline
) -> None:
    test = "data/tasks/1/test/ant.npy"
    flip(cached(pipeline, test))
    shutil.rmtree(pipeline.root / "data/tasks")  # which DVC restores, the wrong pixels with it
    evaluate_refuses(pipeline, 7, test)
    assert top1(pipeline) == top1(base)

    flip(pipeline.root / "data/memory/1/labels.npy")  # whose hash DVC believes to know
    evaluate_refuses(pipeline, 8, "data/memory/1/labels.npy")
    assert top1(pipeline) == top1(base)


def test_every_damaged_file_and_object_is_found_and_mended_without_training(
    base: Pipeline, pipeline: Pipeline
) -> None:
    assert verify(pipeline) == (0, ["no damage"])
    listings = [str(path) for path in (pipeline.root / ".dvc/cache/files/md5").glob("??/*.dir")]
    objects = sorted({*listings, *(str(cached(pipeline, path)) for path in KINDS)})
    for path in objects:
        flip(Path(path))
    status, lines = verify(pipeline)
    assert status == 1
    places = [os.path.relpath(path, pipeline.root) for path in objects]
    assert lines == [f"{place}: damaged, an object of DVC's cache" for place in places]
    assert all(line.endswith("; put back") for line in verify(pipeline, "--repair")[1][:-1])
    assert verify(pipeline) == (0, ["no damage"])

    for path in KINDS:
        flip(pipeline.root / path)
    found = {line.partition(":")[0] for line in verify(pipeline)[1]}
    assert found == set(KINDS)
    assert verify(pipeline, "--repair")[0] == 0
    assert not any((pipeline.root / path).exists() for path in KINDS)
    assert pipeline.repro().run == ["check"]  # in a second; the others are restored
    assert pipeline.results() == base.results()

    steps = pipeline.root / "metrics/steps"
    (steps / "1").rename(steps / "3")
    (steps / "2").rename(steps / "1")
    (steps / "3").rename(steps / "2")
    swapped = ["metrics/steps/1: the metrics of step 2", "metrics/steps/2: the metrics of step 1"]
    assert verify(pipeline)[1] == swapped
    assert verify(pipeline, "--repair")[0] == 0
    assert pipeline.repro().run == []


def test_restored_results_are_the_cache_s_files_and_damage_of_both_is_found(pipeline: Pipeline) -> None:
    image, extractor = "data/raw/train/ant.npy", "data/checkpoints/1/extractor_1.safetensors"
    for name in ("raw", "tasks", "checkpoints"):
        shutil.rmtree(pipeline.root / "data" / name)
    pipeline.succeed("dvc", "checkout")
    for path in (image, "data/tasks/1/train/ant.npy"):
        assert (pipeline.root / path).samefile(cached(pipeline, image))
    pipeline.edit(train__incremental__learning_rate=0.05)
    assert "train_task@2" in pipeline.repro("train_task@2").run
    assert verify(pipeline) == (0, ["no damage"])  # stages write beside the cache's files, never into them

    before = pipeline.results()
    objects = [os.path.relpath(cached(pipeline, path), pipeline.root) for path in (image, extractor)]
    for path in (image, extractor):
        flip(pipeline.root / path)
    found = [line.partition(":")[0] for line in verify(pipeline)[1]]
    assert {*objects, image, "data/tasks/1/train/ant.npy", extractor} <= set(found)
    assert verify(pipeline, "--repair")[0] == 0
    assert {"download", *numbered("T1")} <= set(pipeline.repro("train_task@2").run)
    assert pipeline.results() == before
