"""`python -m bench.many_steps --to DIRECTORY`: 1,000 tiny classes in 100 steps; how seconds and bytes grow.

A pipeline of its own in the directory. After an interruption the same line goes on, and measures the rest.
"""

import argparse
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bench.pipeline_copy import DVC, copy_pipeline, disk, edit_parameters, environment, run_der
from bench.results_file import RESULTS
from der.core.files import write_json
from der.pipeline.timing import FILE

SIDE = 8  # pixels
TRAIN, TEST = 4, 1  # images of a class
RUNNING = re.compile(r"Running stage '(\w+)(?:@(\d+))?':")


class Moment(NamedTuple):
    """A stage has begun."""

    name: str
    step: int
    at: float  # seconds since the run began


def make_images(directory: Path, classes: int) -> None:
    """Noise around a colour of each class."""
    random = np.random.RandomState(0)
    for label in range(classes):
        colour = random.randint(0, 200, 3)
        for split, count in (("train", TRAIN), ("test", TEST)):
            folder = directory / split / f"class {label:04}"
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = colour + random.randint(0, 56, (SIDE, SIDE, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")


def parameters(classes: int, steps: int) -> dict[str, Any]:
    """The smallest network, and an epoch at every step."""
    values = {
        "dataset.source": "folder",
        "dataset.image_side": SIDE,
        "dataset.channels": 3,
        "protocol.first_classes": classes // steps,
        "protocol.later_classes": classes // steps,
        "network.depth": 8,
        "memory.budget": classes,
    }
    for phase in ("base", "incremental"):
        schedule = {"epochs": 1, "milestones": [], "learning_rate": 0.01, "batch_size": 128}
        values |= {f"train.{phase}.{name}": value for name, value in schedule.items()}
    return values


def repro(root: Path) -> Iterator[Moment]:
    """The stages that `dvc repro` runs, as they begin; at last its end, as stage "end"."""
    begin = time.perf_counter()
    with subprocess.Popen(
        [*DVC, "repro"], cwd=root, env=environment(root), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := RUNNING.match(line):
                yield Moment(found[1], int(found[2] or 0), time.perf_counter() - begin)
    if process.returncode:
        raise SystemExit("error: dvc repro failed")
    yield Moment("end", 0, time.perf_counter() - begin)


def measure(root: Path) -> dict[str, Any]:
    """Seconds from every stage's begin to the next one's, by kind of stage and step, and bytes meanwhile."""
    seconds: dict[str, dict[int, float]] = {}
    bytes_by_step: dict[int, dict[str, int]] = {}
    before = None
    for moment in repro(root):
        if before is not None:
            seconds.setdefault(before.name, {})[before.step] = round(moment.at - before.at, 2)
        if moment.name == "train_task":
            bytes_by_step[moment.step] = {
                "lock": (root / "dvc.lock").stat().st_size if (root / "dvc.lock").exists() else 0,
                "data and cache": disk(root, "data/tasks", "data/checkpoints", "data/memory", ".dvc/cache"),
            }
        before = moment
        print(f"{moment.at:8.1f} s  {moment.name} {moment.step or ''}", flush=True)
    return {"seconds": seconds, "bytes": bytes_by_step, "whole": round(before.at, 1) if before else 0.0}


def read_own(root: Path) -> dict[str, dict[int, float]]:
    """Seconds that the stages themselves took, without starting Python and without DVC, as in ``measure``."""
    seconds: dict[str, dict[int, float]] = {}
    for line in (root.parent / "scratch" / FILE).read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        name, _, step = found["stage"].partition("@")
        seconds.setdefault(name, {})[int(step or 0)] = round(found["seconds"], 2)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, required=True, help="a directory for pipeline, images and scratch")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--results", type=Path, default=RESULTS / "many_steps" / "steps.json")
    options = parser.parse_args()
    root = options.to.absolute() / "pipeline"
    copy_pipeline(root)
    make_images(root / "data/images", options.classes)
    edit_parameters(root, parameters(options.classes, options.steps))
    run_der(root, "chain")
    first, again = measure(root), [*repro(root)]
    report = {
        "classes": options.classes,
        "steps": options.steps,
        "first": first,
        "own": read_own(root),
        "again": {"stages": len(again) - 1, "seconds": round(again[-1].at, 1)},
        "page": (root / "metrics/report.html").stat().st_size,
        "dvc.lock": (root / "dvc.lock").stat().st_size,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, report)
    print(json.dumps({name: report[name] for name in ("again", "page", "dvc.lock")}))


if __name__ == "__main__":
    main()
