"""train_task@k: the checkpoint of step k from that of step k - 1.

Torch, which costs seconds, is imported where it is needed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from der.core.files import SealedDirectory
from der.data.arrays import class_file, load_memory, read_classes
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.pipeline.training import listening, name_key, training_state
from der.settings.sections import NetworkSettings, TrainSettings, to_values
from der.train.log import Listener, warn, write_log
from der.train.resume import StateKeeper

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
        progress = listening(f"train_task {step}", f"step_{step:02}", key, warn)
        with progress as listener, environment.computing(f"train_task {step}", device):
            trained, records = train_step(inputs, listener, state)
        given.confirm()
        save_checkpoint(project.checkpoint(step), trained, project.checkpoint(step - 1))
        write_log(project.training(step), records)
        state.finish(SealedDirectory(project.checkpoint(step)).digest)
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.metadata.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


def read_inputs(step: int, given: Given, device: "torch.device", warn: Callable[[str], None]) -> "StepInputs":
    """All that ``step`` is trained from; raises UserError for what is missing, damaged or does not fit."""
    from der.model.checkpoint import check_classes, load_previous, load_start
    from der.model.features import read_records
    from der.train.step import prepare_step

    network, train = given.section(NetworkSettings, "network"), given.section(TrainSettings, "train")
    images, before = project.train_images(step), project.checkpoint(step - 1)
    steps = project.read_task(images, step)
    previous = load_previous(before)
    check_classes(before, previous, steps[:-1])
    features = None
    if network.tuned == "none":
        names = [name for classes in steps for name in classes]
        known = read_records(project.features(images))
        features = [known[class_file(name)]["features"] for name in names]
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
        features=features,
    )


def training_key(step: int, inputs: "StepInputs", device: "torch.device", fingerprint: str) -> str:
    """Return the key of a step's training, see ``name_key``."""
    network = replace(inputs.network, weights=None)  # which the checkpoint before it holds
    settings = [step, to_values(network), to_values(inputs.recipe)]
    places = (project.train_images(step), project.checkpoint(step - 1), project.memory(step - 1))
    return name_key(settings, places, fingerprint, device, inputs.kernels)


if __name__ == "__main__":
    run_step("train_task", run)
