"""train_task@k: the checkpoint of step k from that of step k - 1.

Torch, which costs seconds, is imported where it is needed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from der.core.files import SealedDirectory
from der.data.arrays import class_file, load_memory, read_classes
from der.model.checkpoint import check_classes, load_classifier, save_classifier
from der.model.records import read_records
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.pipeline.training import listening, name_key, training_state
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
    # Only now: what follows imports torch, which costs seconds.
    from der.model.checkpoint import save_checkpoint
    from der.train.step import train_step

    device = environment.set_up_device()
    given.load(device.type)
    if environment.is_worker():
        inputs = read_inputs(step, given, device, lambda sentence: None)
        with environment.computing(f"train_task {step}", device):
            train_step(inputs, log.Listener(), resume.StateKeeper())
        return ""
    inputs = read_inputs(step, given, device, log.warn)
    key = training_key(step, inputs, device, given.text)
    with training_state(key, log.warn) as state:
        progress = listening(f"train_task {step}", f"step_{step:02}", key, log.warn)
        with progress as listener, environment.computing(f"train_task {step}", device):
            trained, records = train_step(inputs, listener, state)
        given.confirm()
        save_checkpoint(project.checkpoint(step), trained, project.checkpoint(step - 1))
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
    metadata, _, _ = load_classifier(network if step == 1 else project.checkpoint(step - 1))
    check_classes(project.checkpoint(step - 1), metadata, steps[:-1])
    records = read_records(project.features(images))
    features = [records[class_file(name)]["features"] for names in steps for name in names]
    fitted, record = convex.fit_classifier(features, recipe.classifier, recipe.shrinkage)
    given.confirm()
    values = fitted.weight_KP.size + fitted.bias_K.size
    metadata = metadata.taught(steps[-1], recipe, values, fitted.familiarity)
    save_classifier(
        project.checkpoint(step), metadata, fitted.weight_KP, fitted.bias_K, fitted.means_KP, network
    )
    log.write_log(project.training(step), [record])
    return (
        f"train_task {step}: {len(features)} classes, fitted on {sum(map(len, features)):,} images, "
        f"training accuracy {record.accuracy:.2f} %"
    )


def read_inputs(step: int, given: Given, device: "torch.device", warn: Callable[[str], None]) -> "StepInputs":
    """All that ``step`` is trained from; raises UserError for what is missing, damaged or does not fit."""
    from der.model.checkpoint import load_previous, load_start
    from der.train.step import prepare_step

    network, train = given.section(NetworkSettings, "network"), given.section(TrainSettings, "train")
    images, before = project.train_images(step), project.checkpoint(step - 1)
    steps = project.read_task(images, step)
    previous = load_previous(before)
    check_classes(before, previous.metadata if previous else None, steps[:-1])
    return prepare_step(
        previous,
        steps,
        read_classes(images, steps[-1]),
        load_memory(project.memory(step - 1)),
        network,
        train,
        device,
        load_start(before),
        log.warn,
        processes=environment.count_processes(),
    )


def training_key(step: int, inputs: "StepInputs", device: "torch.device", fingerprint: str) -> str:
    network = replace(inputs.network, weights=None)  # which the checkpoint before it holds
    settings = [step, to_values(network), to_values(inputs.recipe)]
    places = (project.train_images(step), project.checkpoint(step - 1), project.memory(step - 1))
    return name_key(settings, places, fingerprint, device, inputs.kernels)


if __name__ == "__main__":
    run_step("train_task", run)
