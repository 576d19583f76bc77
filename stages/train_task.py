"""train_task@k: the checkpoint of step k from that of step k - 1.

Torch, which costs seconds, is imported where it is needed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from der.core.errors import UserError
from der.core.files import SealedDirectory
from der.data.arrays import load_memory, read_classes
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.pipeline.timing import running_clock
from der.settings.sections import NetworkSettings, TrainSettings, to_values
from der.train.log import Listener, Progress, TensorBoard, warn, write_log
from der.train.resume import PREFIX, STATE, StateKeeper, StateStore, UnwritableState

if TYPE_CHECKING:
    import torch

    from der.train.step import StepInputs


def run(step: int, given: Given) -> str:
    if project.is_unused(project.train_images(step)):
        return project.mark_unused("train_task", step, project.checkpoint(step), project.training(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.model.checkpoint import save_checkpoint
    from der.train.step import train_step

    device = environment.set_up_device()
    given.load(device.type)
    if environment.is_worker():
        inputs = read_inputs(step, given, device, lambda sentence: None)
        with environment.computing(f"train_task {step}", device):
            train_step(inputs, Listener(), StateKeeper())
        return ""
    inputs = read_inputs(step, given, device, warn)
    key = training_key(step, inputs, device, given.text)
    with training_state(key, warn) as state:
        with listening(step, key, warn) as listener, environment.computing(f"train_task {step}", device):
            trained, records = train_step(inputs, listener, state)
        given.confirm()
        save_checkpoint(project.checkpoint(step), trained, project.checkpoint(step - 1))
        write_log(project.training(step), records)
        state.finish(SealedDirectory(project.checkpoint(step)).digest)
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.metadata.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


TASK = 16  # first letters of a key: they identify the training without the machine


def read_inputs(step: int, given: Given, device: "torch.device", warn: Callable[[str], None]) -> "StepInputs":
    """All that ``step`` is trained from; raises UserError for what is missing, damaged or does not fit."""
    from der.model.checkpoint import check_classes, load_previous, load_start
    from der.train.step import prepare_step

    network, train = given.section(NetworkSettings, "network"), given.section(TrainSettings, "train")
    images, before = project.train_images(step), project.checkpoint(step - 1)
    steps = project.read_task(images, step)
    previous = load_previous(before)
    check_classes(before, previous, steps[:-1])
    return prepare_step(
        previous,
        steps,
        read_classes(images, steps[-1]),
        load_memory(project.memory(step - 1)),
        network,
        train,
        device,
        load_start(before),
        warn,
        processes=environment.count_processes(),
    )


def training_key(step: int, inputs: "StepInputs", device: "torch.device", fingerprint: str) -> str:
    """Return the key of a step's training: parameters, inputs, ``fingerprint``, device and kernels.

    It is a hash of everything that decides on the result, for a file's name. Keys that differ only in device,
    processes and kernels begin with the same TASK letters.
    """
    from der.core.device import name_arithmetic

    network = replace(inputs.network, weights=None)  # which the checkpoint before it holds
    settings = [step, to_values(network), to_values(inputs.recipe)]
    places = (project.train_images(step), project.checkpoint(step - 1), project.memory(step - 1))
    digests = [SealedDirectory(place).digest for place in places]  # held to the files as those are read
    kernels = "" if inputs.kernels is None else inputs.kernels.name
    arithmetic = [*name_arithmetic(device), str(environment.count_processes()), kernels]
    task = hashlib.sha256(json.dumps([settings, digests, fingerprint]).encode()).hexdigest()
    whole = hashlib.sha256(json.dumps([task, arithmetic]).encode()).hexdigest()
    return task[:TASK] + whole[TASK:]


@contextmanager
def training_state(key: str, warn: Callable[[str], None]) -> Iterator[StateStore]:
    """Open the StateStore of ``key`` in the scratch directory; ``warn`` tells of other devices' state."""
    try:
        with StateStore(environment.scratch_root(), key, warn, running_clock()) as store:
            others = [
                found.parent for found in environment.scratch_root().glob(f"{PREFIX}{key[:TASK]}*/{STATE}")
            ]
            if others and not store.phases:
                warn(
                    f"begins anew; what another device, number of processes or compiler trained: {others[0]}"
                )
            yield store
    except UnwritableState as error:
        raise UserError(
            f"{error}, or set {environment.SCRATCH} to a directory elsewhere, and run again: it goes on from "
            "the last state"
        ) from None


def listening(step: int, key: str, warn: Callable[[str], None]) -> Progress:
    """Show the progress of ``step``, and write its curves, by ``key``, into DER_TENSORBOARD's folder."""
    root = environment.curves_root()
    curves = None if root is None else TensorBoard(root / f"step_{step:02}-{key[-8:]}", warn)
    return Progress(f"train_task {step}", curves)


if __name__ == "__main__":
    run_step("train_task", run)
