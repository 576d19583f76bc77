"""`python -m bench.photos.epochs`: an epoch on images in mapped files, beside one on the same in memory.

The files are not in the system's cache when an epoch begins; both must come to the same weights.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from bench.photos.memory import BYTES, CLASSES, NETWORK, SIDE
from bench.results_file import RESULTS, describe_processor
from der.core.files import write_json
from der.data.arrays import empty_memory, every_row, write_images
from der.model.checkpoint import Checkpoint
from der.settings.experiment import preset
from der.settings.sections import NetworkSettings
from der.train.batches import gather_step
from der.train.log import EpochRecord, Listener
from der.train.resume import StateKeeper
from der.train.step import StepInputs, train_step

Arrays = Sequence[NDArray[np.uint8]]


class Clock(Listener):
    """Seconds of a phase of one epoch."""

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        self.seconds = time.perf_counter()

    def on_epoch(self, record: EpochRecord) -> None:
        self.seconds = time.perf_counter() - self.seconds


def make_files(directory: Path, count: int) -> list[Path]:
    """Noise, ``count`` images in all, a file for each class."""
    random = np.random.RandomState(0)
    files = [directory / f"{name}.npy" for name in range(CLASSES)]
    for file in files:
        images = random.randint(0, 256, (count // CLASSES, SIDE, SIDE, 3), dtype=np.uint8)
        write_images(file, every_row([images]))
    return files


def forget(file: Path) -> None:
    """Have the system drop a file from its cache."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(arrays: Arrays, network: NetworkSettings) -> tuple[float, Checkpoint]:
    """The seconds of an epoch of step 1, and what it leaves."""
    settings = preset("photos").train
    settings = replace(settings, base=replace(settings.base, epochs=1, milestones=[]))
    steps, cpu, clock = [[str(label) for label in range(len(arrays))]], torch.device("cpu"), Clock()
    images = gather_step(arrays, empty_memory())
    trained = train_step(StepInputs(None, steps, images, network, settings, cpu), clock, StateKeeper())
    return clock.seconds, trained.checkpoint


def same_weights(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two networks have the same bytes."""
    values, others = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(value, others[name]) for name, value in values.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=0.3, help="of images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each kind (default: %(default)s)")
    parser.add_argument("--to", type=Path, required=True, help="a directory for the images")
    parser.add_argument("--results", type=Path, default=RESULTS / "photos/epochs.json")
    options = parser.parse_args()
    network = replace(preset("photos").network, **NETWORK)
    files = make_files(options.to, int(options.gigabytes * 1e9 / BYTES))
    in_memory = [np.load(file) for file in files]
    seconds: dict[str, list[float]] = {"in memory": [], "mapped": []}
    for _ in range(options.rounds):
        took, expected = train(in_memory, network)
        seconds["in memory"].append(took)
        for file in files:
            forget(file)
        took, found = train([np.load(file, mmap_mode="r") for file in files], network)
        seconds["mapped"].append(took)
        if not same_weights(expected, found):
            raise SystemExit("error: other weights from mapped files than from memory")
    medians = {name: float(np.median(found)) for name, found in seconds.items()}
    report = {
        "images": sum(map(len, in_memory)),
        "machine": describe_processor(),
        "mapped_over_in_memory": round(medians["mapped"] / medians["in memory"], 3),
        "seconds_per_epoch": {name: round(median, 2) for name, median in medians.items()},
    }
    print(json.dumps(report, indent=1))
    write_json(options.results, report)


if __name__ == "__main__":
    main()
