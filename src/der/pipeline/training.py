"""What the training of a step has of the project: its inputs, where its state lies, and live curves.

Torch, which costs seconds, is imported where it is needed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from der.core.errors import UserError, naming
from der.core.files import expand_home
from der.core.sealed import SealedDirectory
from der.data.arrays import load_memory, read_classes
from der.pipeline import paths
from der.pipeline.environment import CURVES, SCRATCH, count_processes, scratch_root
from der.pipeline.params import load_section
from der.pipeline.paths import read_task
from der.pipeline.timing import find_project, running_clock
from der.settings.sections import NetworkSettings, to_values
from der.settings.training import TrainSettings
from der.train.progress import Progress, TensorBoard
from der.train.resume import PREFIX, STATE, StateStore, UnwritableState

TASK = 16  # letters of a key that tell what is trained, and not by what

if TYPE_CHECKING:
    import torch

    from der.train.step import StepInputs


def read_inputs(step: int, device: "torch.device", warn: Callable[[str], None]) -> "StepInputs":
    """All that ``step`` is trained from; raises UserError for what is missing, damaged or does not fit."""
    from der.model.checkpoint import check_classes, load_previous, load_start
    from der.train.step import prepare_step

    network, train = load_section(NetworkSettings, "network"), load_section(TrainSettings, "train")
    images, before = paths.train_images(step), paths.checkpoint(step - 1)
    steps = read_task(images, step)
    previous = load_previous(before)
    check_classes(before, previous, steps[:-1])
    return prepare_step(
        previous,
        steps,
        read_classes(images, steps[-1]),
        load_memory(paths.memory(step - 1)),
        network,
        train,
        device,
        load_start(before),
        warn,
        processes=count_processes(),
    )


def training_key(step: int, inputs: "StepInputs", device: "torch.device", fingerprint: str) -> str:
    """The key of a step's training: parameters, inputs, code (its ``fingerprint``), device and kernels.

    It is a hash of all that decides on the result, fit for a file's name; those that differ in device,
    processes and kernels alone begin with the same TASK letters.
    """
    from der.core.device import name_arithmetic

    network = replace(inputs.network, weights=None)  # which the checkpoint before it holds
    settings = [step, to_values(network), to_values(inputs.recipe)]
    places = (paths.train_images(step), paths.checkpoint(step - 1), paths.memory(step - 1))
    digests = [SealedDirectory(place).digest for place in places]  # held to the files as those are read
    kernels = "" if inputs.kernels is None else inputs.kernels.name
    arithmetic = [*name_arithmetic(device), str(count_processes()), kernels]
    task = hashlib.sha256(json.dumps([settings, digests, fingerprint]).encode()).hexdigest()
    whole = hashlib.sha256(json.dumps([task, arithmetic]).encode()).hexdigest()
    return task[:TASK] + whole[TASK:]


@contextmanager
def training_state(key: str, warn: Callable[[str], None]) -> Iterator[StateStore]:
    """The StateStore of ``key`` in the scratch directory; ``warn`` hears of state that other devices left."""
    try:
        with StateStore(scratch_root(), key, warn, running_clock()) as store:
            others = [found.parent for found in scratch_root().glob(f"{PREFIX}{key[:TASK]}*/{STATE}")]
            if others and not store.phases:
                warn(
                    f"begins anew; what another device, number of processes or compiler trained: {others[0]}"
                )
            yield store
    except UnwritableState as error:
        raise UserError(
            f"{error}, or set {SCRATCH} to a directory elsewhere, and run again: it goes on from the last "
            "state"
        ) from None


def listening(step: int, key: str, warn: Callable[[str], None]) -> Progress:
    """Show the progress of ``step``, and write its curves if DER_TENSORBOARD is set.

    Curves of each training, by its ``key``, have a folder, which is found again when it goes on.
    """
    root = curves_root()
    curves = None if root is None else TensorBoard(root / f"step_{step:02}-{key[-8:]}", warn)
    return Progress(f"train_task {step}", curves)


def curves_root() -> Path | None:
    """The folder that DER_TENSORBOARD names, from the project's own, made if need be; None if none."""
    named = os.environ.get(CURVES)
    if not named:
        return None
    if find_spec("tensorboard") is None:
        raise UserError(
            f"{CURVES}: tensorboard is missing; pip install 'der-pipeline[tensorboard]', or unset {CURVES}"
        )
    with naming(CURVES):
        root = find_project() / expand_home(named)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{CURVES}: {root} cannot be made ({error.strerror}); name another folder, or unset {CURVES}"
        ) from None
    return root
