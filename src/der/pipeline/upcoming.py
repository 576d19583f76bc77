"""What is still to be trained after a step: for the time that is left, which no result depends on.

Nothing of a later step is opened, so that none is an input: sizes of files tell how many images it has.
"""

import math
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from der.pipeline import paths
from der.pipeline.params import read_params
from der.settings.training import TrainSettings
from der.train.workload import RunWork, plan_step

if TYPE_CHECKING:
    from der.train.training_images import TrainingImages

HEADER = 128  # bytes in front of a .npy file's values


def plan_run(step: int, images: "TrainingImages", train: TrainSettings, *, expansion: bool) -> RunWork:
    """The steps before and after ``step``, which trains on ``images``; every image of a run has one size."""
    seen = int(images.labels.max()) + 1
    image_bytes = math.prod(images.pixels.shape)
    done = [plan_step(one, [1], train, expansion=expansion) for one in range(1, step)]
    before = sum(phase.epochs for work in done for phase in work)
    later = []
    for one in count(step + 1):
        new = count_images(paths.train_images(one), image_bytes)
        if not new:
            break
        kept = exemplars(read_params().get("memory"), seen)
        later.append(plan_step(one, [*[kept] * seen, *new], train, expansion=expansion))
        seen += len(new)
    return RunWork(before, tuple(later))


def exemplars(memory: Any, classes: int) -> int:
    """The number of each class, by section ``memory`` of params.yaml as it stands: at least one.

    Without der.memory and its settings, whose code would become a part of training's.
    """
    try:
        share = memory["budget"] if memory["allocation"] == "per_class" else memory["budget"] // classes
        return max(1, int(share))
    except (TypeError, KeyError, ValueError):  # another stage refuses it
        return 1


def count_images(directory: Path, image_bytes: int) -> list[int]:
    """The number of images of each class of a step, from the sizes of files; empty if there is no step."""
    return [max(1, (file.stat().st_size - HEADER) // image_bytes) for file in directory.glob("*.npy")]
