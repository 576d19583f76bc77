"""Run by the python of an environment that has the wheel alone: the library learns two classes of noise.

Arguments: the directory for the checkpoint.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from der.data.exemplars import empty_memory
from der.model.checkpoint import load_checkpoint, save_checkpoint
from der.settings.presets import preset
from der.train.incremental_step import train_step
from der.train.log import EpochRecord
from der.train.training_images import gather_step

CPU = torch.device("cpu")


class Nobody:
    """A listener that hears nothing, and a keeper that keeps nothing."""

    def on_phase(self, name: str, epochs: int, images: int) -> None: ...
    def on_resume(self, epochs: int) -> None: ...
    def on_images(self, images: int) -> None: ...
    def on_epoch(self, record: EpochRecord) -> None: ...
    def load(self, phase: str) -> None: ...
    def save(self, *_: object, last: bool) -> None: ...


def teach(path: Path) -> None:
    """Teach one step, save it and load it again."""
    settings = preset("digits")
    base = replace(settings.train.base, epochs=2, milestones=[])
    train = replace(settings.train, base=base)
    network = replace(settings.network, depth=8)
    draw = np.random.RandomState(0)
    dark, bright = (draw.randint(low, low + 128, (24, 8, 8, 1)).astype(np.uint8) for low in (0, 128))
    images = gather_step([dark, bright], empty_memory())
    trained = train_step(None, [["dark", "bright"]], images, network, train, CPU, Nobody(), Nobody())
    save_checkpoint(path, trained.checkpoint, path.parent / "none")
    loaded = load_checkpoint(path)
    assert loaded.metadata.steps == [["dark", "bright"]]
    print(*(f"{record.accuracy:.1f}" for record in trained.records))


teach(Path(sys.argv[1]))
