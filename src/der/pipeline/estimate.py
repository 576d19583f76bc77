"""Estimates the seconds of stages that `der plan` lists, where they are not those of last time.

A training takes as long as its epochs, images and extractors say: an image takes three forward passes of the
newest extractor, which is trained, and one of each frozen extractor. The seconds of an image are those of
another step's last training here; before a first one they are measured, for a second.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from der.core.cost import StageTime
from der.core.errors import UserError
from der.core.files import read_array
from der.data.arrays import exemplars_per_class
from der.data.sources.folder import build_tree, scan
from der.data.sources.registry import find_source
from der.estimator.choices import backbone_side
from der.pipeline import environment, project
from der.pipeline.edits import TRAINING, Steps
from der.pipeline.inputs import FOLDER
from der.settings.experiment import Settings

MARKER = 0.1  # seconds of a stage of an unused step
START = 2.0  # seconds until torch is imported
SECOND = 1.0  # of training
PIXELS = 2**14  # of its batches on a processor, which takes as long for an image of a larger one


class Cost(NamedTuple):
    """How long a stage will take."""

    seconds: float | None  # None: nothing is known
    estimated: bool = True  # else it took so long last time


def estimate(
    stages: Iterable[str],
    settings: Settings,
    steps: Steps,
    times: Mapping[str, StageTime],
    measure: Callable[[], float],
) -> dict[str, Cost]:
    """Estimate each stage of a plan; ``steps`` are empty if unknown, ``measure`` is ``measure_image``."""
    images = count_images(settings, steps)

    def work(step: int, epochs: int) -> float:
        frozen = step - 1 if settings.network.expansion else 0
        return epochs * images[step - 1] * (1 + frozen / 3)

    trained = {
        step: last.seconds / work(step, last.epochs)
        for step in range(1, len(images) + 1)
        if (last := times.get(f"{TRAINING}{step}")) and last.epochs
    }

    def cost(stage: str) -> Cost:
        step, last = int(stage.partition("@")[2] or 0), times.get(stage)
        if steps and step > len(steps):
            return Cost(MARKER)
        epochs = count_epochs(settings, step) if stage.startswith(TRAINING) else None
        if last is not None and epochs in (None, last.epochs):
            return Cost(last.seconds, estimated=False)
        if epochs is None or not images:
            return Cost(None)
        if trained:
            return Cost(trained[min(trained, key=lambda one: abs(one - step))] * work(step, epochs))
        return Cost(START + measure() * work(step, epochs))

    return {stage: cost(stage) for stage in stages}


def count_epochs(settings: Settings, step: int) -> int:
    """Count the epochs of a step, those of classifier learning among them; fitting on features is one."""
    if settings.network.tuned == "none":
        return 1
    incremental = settings.train.incremental
    again = step > 1 and incremental.rebalancing == "classifier_learning"
    return settings.train.phase(step).epochs + again * incremental.classifier.epochs


def count_images(settings: Settings, steps: Steps) -> list[float]:
    """Count the training images of each step, exemplars among them; empty if only reading them would tell.

    Of a folder the files count; of other sources, the images in data/raw, or the usual number of a class.
    """
    dataset, path, counts = settings.dataset, Path(settings.dataset.path), dict[str, float]()
    with suppress(UserError):
        if dataset.source == FOLDER and path.is_dir():
            tree, _ = build_tree(scan(path), str(path))
            share = 1 if "test" in tree else 1 - dataset.test_fraction
            counts = {name: share * len(files) for name, files in tree["train"].items()}
        else:
            files = (project.RAW / "train").glob("*.npy")
            counts = {file.stem: len(read_array(file, mapped=True)) for file in files}
    usual = sum(counts.values()) / len(counts) if counts else find_source(dataset).images
    found, old = [], list[float]()
    for names in steps if usual else []:
        new = [counts.get(name, usual) for name in names]
        most = exemplars_per_class(settings.memory, len(old)) if old else 0
        found.append(sum(new) + sum(min(most, count) for count in old))
        old += new
    return found


def measure_image(settings: Settings) -> float:
    """Train an extractor on noise for a second; return the seconds of an image, of the fastest batch."""
    import torch  # it costs seconds, as do modules that import it

    from der.model.network import random_extractor

    device, dataset, size = environment.set_up_device(), settings.dataset, settings.train.base.batch_size
    side, network = (
        backbone_side(settings) or dataset.side,
        replace(settings.network, weights=None, tuned="all"),
    )
    if device.type == "cpu":
        size = min(size, max(4, PIXELS // side**2))
    extractor = random_extractor(network, dataset.channels, torch.Generator())
    extractor.to(device).to(memory_format=torch.channels_last)
    images_BCHW = torch.rand(size, dataset.channels, side, side, device=device)
    images_BCHW = images_BCHW.to(memory_format=torch.channels_last)
    seconds: list[float] = []
    while sum(seconds) < SECOND or len(seconds) < 2:
        begin = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.train.precision == "bfloat16"):
            features_BD = extractor(images_BCHW)
        features_BD.sum().backward()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds) / size
