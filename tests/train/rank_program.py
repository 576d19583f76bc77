"""One of several processes that train together: python -m tests.train.rank_program RANK COUNT STORE OUT.

What it comes to, case by case, is written to OUT; all ranks must come to the same.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch._C._distributed_c10d import FileStore

from der.common import ranks
from der.settings.network import NetworkSettings
from der.train.masks import ChannelMasks
from tests.builders import (
    CPU,
    augmentation_settings,
    build_engine,
    build_objective,
    draws_of,
    incremental_settings,
    mask_settings,
    phase_settings,
    random_network,
    take_step,
    train_settings,
    training_images,
    weights,
)
from tests.train import dropping

BATCH = 8
# Images; the precision; whether channels are masked. 9 images leave a last batch of one, of which
# all ranks but one have nothing.
CASES: dict[str, tuple[int, str, bool]] = {
    "one batch": (BATCH, "float32", False),
    "a batch that does not divide": (7, "float32", False),
    "one image beyond a batch": (9, "float32", False),
    "masks": (BATCH, "float32", True),
    "bfloat16": (BATCH, "bfloat16", False),
}
STEPS = "two steps"
DROPPING = "two steps with dropout"


def train_epoch(images: int, precision: str, masked: bool) -> Any:
    """All that training changes, and the means, after an epoch of the second step's representation."""
    network = random_network([2, 2])
    masks = None
    if masked:
        stream = torch.Generator().manual_seed(3)
        masks = ChannelMasks(network.extractors[-1], mask_settings(), stream)  # type: ignore[arg-type]
    shares = [images // 4 + (label < images % 4) for label in range(4)]
    objective = build_objective(network, 2, masks=masks)
    augmentation = augmentation_settings()
    engine = build_engine(
        objective,
        network.extractors[:-1],
        training_images(1, shares),
        phase_settings(batch_size=BATCH),
        augmentation,
        precision,
        masks,
    )
    means = engine.run_epoch(draws_of(images, augmentation, step=2), 0.05, lambda count: None)
    return {"state": engine.pack(), "means": torch.tensor(means)}


def train_steps(network: NetworkSettings | None = None) -> Any:
    """The weights after two whole steps, classifier learning among them."""
    settings = train_settings(
        base=phase_settings(epochs=3), incremental=incremental_settings(rebalancing="classifier_learning")
    )
    first = take_step(None, [["a", "b"]], training_images(1, [11, 10]), settings, network=network)
    later = training_images(2, [5, 5, 11])
    second = take_step(first, [["a", "b"], ["c"]], later, settings, network=network)
    return weights(second.network)


def main() -> None:
    rank, count, store, out = sys.argv[1:]
    torch.set_num_threads(1)
    if int(count) > 1:
        ranks.join(int(rank), int(count), CPU, FileStore(store, int(count)))
    found = {name: train_epoch(*case) for name, case in CASES.items()}
    found |= {STEPS: train_steps(), DROPPING: train_steps(dropping.SETTINGS)}
    torch.save(found, Path(out))


if __name__ == "__main__":
    main()
