"""train_task@k: the checkpoint of step k from that of step k - 1.

Torch, which costs seconds, is imported where it is needed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from der.core.files import SealedDirectory
from der.data.arrays import class_file, load_memory, read_step
from der.model import checkpoint
from der.model.records import read_records
from der.pipeline import environment, project, training
from der.pipeline.stage import Given, run_step
from der.settings.sections import NetworkSettings, TrainSettings, to_values
from der.train import convex, log, resume

if TYPE_CHECKING:
    import torch

    from der.train.step import StepInputs


def run(step: int, given: Given) -> str:
    if project.is_unused(project.train_images(step)):
        return project.mark_unused("train_task", step, project.checkpoint(step), project.training(step))
    if given.section(NetworkSettings, "network").tuned == "none":
        return fit_step(step, given)
    from der.train.step import train_step  # only now: it imports torch, which costs seconds

    device = environment.set_up_device()
    given.load(device.type)
    if environment.is_worker():
        inputs = read_inputs(step, given, device, lambda sentence: None)
        with environment.computing(f"train_task {step}", device):
            train_step(inputs, log.Listener(), resume.StateKeeper())
        return ""
    inputs = read_inputs(step, given, device, log.warn)
    key = training_key(step, inputs, device, given.text)
    with training.training_state(key, log.warn) as state:
        progress = training.listening(f"train_task {step}")
        with progress as listener, environment.computing(f"train_task {step}", device):
            trained, records = train_step(inputs, listener, state)
        given.confirm()
        checkpoint.save_checkpoint(project.checkpoint(step), trained, project.checkpoint(step - 1))
        log.write_log(project.training(step), records)
        state.finish(SealedDirectory(project.checkpoint(step)).digest)
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.metadata.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


def fit_step(step: int, given: Given) -> str:
    """Fit a classifier on the features of all images under a frozen network, without torch."""
    images, network = project.train_images(step), project.NETWORK
    steps, recipe = project.read_task(images, step), given.section(TrainSettings, "train").recipe(step)
    metadata, _, _ = checkpoint.load_classifier(network if step == 1 else project.checkpoint(step - 1))
    checkpoint.check_classes(project.checkpoint(step - 1), metadata, steps[:-1])
    records = read_records(project.features(images))
    features = [records[class_file(name)]["features"] for names in steps for name in names]
    fitted, record = convex.fit_classifier(features, recipe.classifier, recipe.shrinkage)
    given.confirm()
    values = fitted.weight_KP.size + fitted.bias_K.size
    metadata = metadata.taught(steps[-1], recipe, values, fitted.familiarity)
    checkpoint.save_classifier(
        project.checkpoint(step), metadata, fitted.weight_KP, fitted.bias_K, fitted.means_KP, network
    )
    log.write_log(project.training(step), [record])
    return (
        f"train_task {step}: {len(features)} classes, fitted on {sum(map(len, features)):,} images, "
        f"training accuracy {record.accuracy:.2f} %"
    )


def read_inputs(step: int, given: Given, device: "torch.device", warn: Callable[[str], None]) -> "StepInputs":
    """All that ``step`` is trained from; raises UserError for what is missing, damaged or does not fit."""
    from der.train.step import prepare_step

    network, train = given.section(NetworkSettings, "network"), given.section(TrainSettings, "train")
    images, before = project.train_images(step), project.checkpoint(step - 1)
    steps = project.read_task(images, step)
    previous = checkpoint.load_previous(before)
    checkpoint.check_classes(before, previous.metadata if previous else None, steps[:-1])
    more, new_classes = read_step(images, steps)
    own = previous, steps, new_classes, load_memory(project.memory(step - 1)).beside(more)
    start, processes = checkpoint.load_start(before), environment.count_processes()
    return prepare_step(*own, network, train, device, start, warn, processes=processes)


def training_key(step: int, inputs: "StepInputs", device: "torch.device", fingerprint: str) -> str:
    network = replace(inputs.network, weights=None)  # which the checkpoint before it holds
    settings = [step, to_values(network), to_values(inputs.recipe)]
    places = (project.train_images(step), project.checkpoint(step - 1), project.memory(step - 1))
    return training.name_key(settings, places, fingerprint, device, inputs.kernels)


if __name__ == "__main__":
    run_step("train_task", run)
