"""Processes that train together: python -m tests.train.rank_program PLACE COUNT..., a COUNT of them at once.

What a rank comes to, case by case, is written to PLACE/<which of the counts>/<rank>.pt; all must come to the
same. One that fails leaves the others waiting, and the test ends them.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch._C._distributed_c10d import FileStore

from der.core import distributed
from der.model.network import run_network
from der.settings.sections import DistillationSettings, NetworkSettings
from der.train.log import Listener
from der.train.objective import ChannelMasks, Distillation
from der.train.resume import StateKeeper
from der.train.step import StepInputs, train_step
from tests import builders
from tests.model import tiny_timm
from tests.train import dropping

BATCH = 8


class Case(NamedTuple):
    """An epoch of the second step's representation."""

    images: int = BATCH
    precision: str = "float32"
    masked: bool = False
    distilled: bool = False
    resized_crop: list[float] | None = None
    mixed: bool = False


CASES = {
    "a batch that does not divide": Case(images=7),
    # Of the last batch, of one, all ranks but one have nothing.
    "one image beyond a batch": Case(images=9),
    "fewer images than three ranks, cropped": Case(images=2, resized_crop=[0.5, 1.0]),
    "images mixed after a policy": Case(images=7, mixed=True),
    "masks": Case(masked=True),
    "distillation of a batch that does not divide": Case(images=7, distilled=True),
    "bfloat16": Case(precision="bfloat16"),
}
TUNED = ("all", "last")  # of a network of timm, a step of one batch
STEPS = "two steps"
DROPPING = "two steps with dropout"
OUTPUTS = "what a network makes of images"
RESUMED = "a step that goes on from what rank 0 has kept"
IMAGES = builders.training_images(1, [4, 4])


def train_epoch(case: Case) -> Any:
    """All that training changes, the means, and how many images were heard of."""
    images = case.images
    network = builders.random_network([2, 2])
    masks = None
    if case.masked:
        stream = torch.Generator().manual_seed(3)
        masks = ChannelMasks(network.extractors[-1], builders.mask_settings(), stream)  # type: ignore[arg-type]
    shares = [images // 4 + (label < images % 4) for label in range(4)]
    distillation = None
    if case.distilled:
        both = DistillationSettings(features=0.5, logits=0.5)
        distillation = Distillation(both, builders.random_network([2]).head, [[*range(64)]], 64)
    objective = builders.build_objective(network, 2, masks=masks, distillation=distillation)
    mixing: dict[str, Any] = {"policy": "autoaugment", "cutmix": 1.0} if case.mixed else {}
    augmentation = builders.augmentation_settings(resized_crop=case.resized_crop, **mixing)
    heard: list[int] = []
    engine = builders.build_engine(
        objective,
        network.extractors[:-1],
        builders.training_images(1, shares),
        builders.phase_settings(batch_size=BATCH),
        augmentation,
        case.precision,
        masks,
    )
    means = engine.run_epoch(builders.draws_of(images, augmentation, step=2), 0.05, heard.append)
    return {"state": engine.pack(), "means": torch.tensor(means), "heard": torch.tensor(heard)}


def train_timm(tuned: str) -> Any:
    """The weights of a network of timm after a step of the optimiser."""
    settings = builders.train_settings(base=builders.phase_settings(epochs=1, batch_size=BATCH))
    images = tiny_timm.images(1, 4, 4)
    with TemporaryDirectory() as directory:
        network = tiny_timm.settings_for(tiny_timm.write_weights(Path(directory)), tuned=tuned)
        start = tiny_timm.start_for(network)
    inputs = StepInputs(None, [["a", "b"]], images, network, settings, builders.CPU, start)
    taken = train_step(inputs, Listener(), StateKeeper()).checkpoint
    return {"weights": torch.cat([value.reshape(-1) for value in builders.weights(taken.network).values()])}


def train_steps(network: NetworkSettings | None = None) -> Any:
    """The weights after two whole steps, classifier learning among them."""
    settings = builders.train_settings(
        base=builders.phase_settings(),
        incremental=builders.incremental_settings(rebalancing="classifier_learning"),
        averaging=1.0,
    )
    first = builders.take_step(
        None, [["a", "b"]], builders.training_images(1, [11, 10]), settings, network=network
    )
    later = builders.training_images(2, [5, 5, 11])
    second = builders.take_step(first, [["a", "b"], ["c"]], later, settings, network=network)
    return builders.weights(second.network)


def run_images() -> Any:
    """Features and scores of seven images, which no two ranks share evenly."""
    outputs = run_network(
        builders.random_network([3, 2]), builders.NORMALIZATION, builders.random_images(0, 7), builders.CPU
    )
    return {"features": torch.from_numpy(outputs.features), "logits": torch.from_numpy(outputs.logits)}


class FirstEpoch(builders.MemoryKeeper):
    """Keeps the state after all epochs but the last."""

    def save(self, phase: str, records: Any, pack: Any, *, last: bool) -> None:
        if not last:
            super().save(phase, records, pack, last=last)


def resume_step() -> Any:
    """How far a step is from itself where only rank 0 has the state after the first of two epochs."""
    keeper: Any = FirstEpoch() if distributed.rank() == 0 else StateKeeper()
    recorders = [builders.Recorder(), builders.Recorder()]
    whole, resumed = (
        builders.weights(
            builders.take_step(
                None, [["a", "b"]], IMAGES, builders.train_settings(averaging=1.0), recorder, keeper=keeper
            ).network
        )
        for recorder in recorders
    )
    assert [recorder.resumed for recorder in recorders] == [[], [1]]
    return {name: value - whole[name] for name, value in resumed.items()}


def run_rank(rank: int, count: int, place: Path) -> None:
    """One of ``count`` processes."""
    torch.set_num_threads(1)
    if count > 1:
        distributed.join(rank, count, builders.CPU, FileStore(str(place / "store"), count))
    found = {name: train_epoch(case) for name, case in CASES.items()}
    found |= {tuned: train_timm(tuned) for tuned in TUNED} | {OUTPUTS: run_images()}
    found |= {STEPS: train_steps(), DROPPING: train_steps(dropping.SETTINGS), RESUMED: resume_step()}
    torch.save(found, place / f"{rank}.pt")


def main() -> None:
    """Forks of one process, so that what takes seconds to import is imported once."""
    place, *counts = sys.argv[1:]
    for number, count in enumerate(map(int, counts)):
        directory = Path(place) / str(number)
        directory.mkdir(parents=True)
        started = []
        for rank in range(count):
            if (child := os.fork()) == 0:
                run_rank(rank, count, directory)
                os._exit(0)
            started.append(child)
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in started]
        if any(ended):
            sys.exit(f"of {count} at once: exit statuses {ended}")


if __name__ == "__main__":
    main()
