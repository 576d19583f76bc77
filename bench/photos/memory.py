"""`python -m bench.photos.memory`: what stages take of memory and disk, on photos that it makes.

A pipeline of its own in the directory --to. After an interruption the same line goes on, and says nothing of
the disk, where files of both runs lie then.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench.pipeline_copy import DVC, copy_pipeline, disk, edit_parameters, environment, run_der
from bench.results_file import RESULTS, describe_processor
from der.core.files import write_json

CLASSES = 1000  # of so few images each that most of them become exemplars
NEW = 10  # of them, at step 2
SIDE = 224  # pixels
BYTES = SIDE * SIDE * 3
LOOK = 0.05  # seconds between looks at the memory
# A network that leaves the time to the images.
NETWORK = {"backbone": "timm:test_efficientnet", "weights": None, "tuned": "all"}
PHASES = ("base", "incremental", "incremental.classifier")
LIGHT: dict[str, Any] = {
    **{f"network.{name}": value for name, value in NETWORK.items()},
    "dataset.image_side": SIDE,
    "protocol.first_classes": CLASSES - NEW,  # so that training and memory go through all images
    "protocol.later_classes": NEW,
    **{f"train.{phase}.epochs": 1 for phase in PHASES},
    **{f"train.{phase}.milestones": [] for phase in PHASES},
    "memory.budget": 20,
}
STAGES = (
    *("check", "download", "split", "initialize"),
    *(f"{stage}@{step}" for step in (1, 2) for stage in ("train_task", "build_memory", "evaluate")),
)


def make_photos(directory: Path, count: int) -> None:
    """JPEGs of smooth noise, ``count`` in all, of a little more than the side; those that are there stay."""
    random = np.random.RandomState(0)
    for index in range(count):
        name = f"class {index % CLASSES:03}"
        file = directory / name / f"{index:06}.jpg"
        coarse = random.randint(0, 256, (12, 9, 3), dtype=np.uint8)
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(file, quality=80)


def watch(root: Path, line: Sequence[str]) -> dict[str, float]:
    """Run a command; most MB resident, of all its processes, without pages that are a file's, and seconds."""
    begin, peak, anonymous = time.perf_counter(), 0, 0
    with subprocess.Popen(line, cwd=root, env=environment(root)) as process:
        while process.poll() is None:
            resident, own = memory_of(process.pid)
            peak, anonymous = max(peak, resident), max(anonymous, own)
            time.sleep(LOOK)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(line)} failed")
    seconds = round(time.perf_counter() - begin, 1)
    return {"seconds": seconds, "resident_mb": round(peak / 1e6), "own_mb": round(anonymous / 1e6)}


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes resident of a process and those it started; and without pages shared with files."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        found = [one.memory_info() for one in family]
    except psutil.Error:
        return 0, 0
    return sum(one.rss for one in found), sum(one.rss - one.shared for one in found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=5, help="of arrays (default: 5)")
    parser.add_argument("--to", type=Path, required=True, help="a directory for pipeline, photos and scratch")
    parser.add_argument("--results", type=Path, default=RESULTS / "photos/memory.json")
    options = parser.parse_args()
    root, count = options.to.absolute() / "pipeline", int(options.gigabytes * 1e9 / BYTES)
    fresh = not root.exists()
    make_photos(options.to / "photos/train", count)
    copy_pipeline(root)
    run_der(root, "preset", "photos")
    edit_parameters(root, LIGHT | {"dataset.path": str(options.to.absolute() / "photos")})
    run_der(root, "chain")
    report: dict[str, Any] = {
        "gigabytes": round(count * BYTES / 1e9, 2),
        "images": count,
        "machine": describe_processor(),
        "stages": {},
    }
    for stage in STAGES:
        report["stages"][stage] = watch(root, [*DVC, "repro", "--single-item", stage])
        print(stage, report["stages"][stage], flush=True)
        if stage == "split" and fresh:
            used = disk(root, "data/raw", "data/tasks", ".dvc/cache")
            report["disk_times_arrays"] = round(used / (count * BYTES), 3)
    print(json.dumps(report, indent=1))
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, report)


if __name__ == "__main__":
    main()
