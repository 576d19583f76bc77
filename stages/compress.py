"""compress@k: one extractor that has learned the outputs of the network after step k, measured beside it.

Torch, which costs seconds, is imported where it is needed.
"""

from typing import TYPE_CHECKING

import numpy as np

from der.core.files import SealedDirectory, sealed_directory, write_json
from der.data.arrays import every_row, load_memory, read_classes
from der.evaluation.results import METRICS, StepMetrics
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.pipeline.timing import running_clock
from der.pipeline.training import listening, name_key, training_state
from der.settings.sections import CompressSettings, EvaluateSettings, TrainSettings, to_values
from der.train.log import Listener, warn
from der.train.resume import StateKeeper

if TYPE_CHECKING:
    from der.model.checkpoint import Checkpoint
    from der.train.compress import CompressInputs


def run(step: int, given: Given) -> str:
    settings = project.read_compression(step)
    place, metrics = project.compressed(step), project.compression(step)
    if settings is None or project.is_unused(project.train_images(step)):
        return project.mark_unused("compress", step, place, metrics, why="not asked for")
    # Only now: what follows imports torch, which costs seconds.
    from der.model.checkpoint import save_checkpoint

    inputs = read_inputs(step, settings, given)
    if environment.is_worker():
        work(step, inputs, Listener(), StateKeeper())
        return ""
    key = training_key(step, inputs, given.text)
    with training_state(key, warn) as state:
        with listening(f"compress {step}", f"compressed_{step:02}", key, warn) as listener:
            compressed, measured, running_clock().speeds = work(step, inputs, listener, state)
        given.confirm()
        save_checkpoint(place, compressed)
        measured["compressed"]["checkpoint_bytes"] = SealedDirectory(place).bytes()
        with sealed_directory(metrics) as directory:
            write_json(directory / METRICS, measured)
        state.finish(SealedDirectory(place).digest)
    accuracies = ", ".join(f"{one['top1']:.2f} % {name}" for name, one in measured.items())
    return f"compress {step}: top-1 {accuracies}"


def read_inputs(step: int, settings: CompressSettings, given: Given) -> "CompressInputs":
    """All that the network is compressed from; raises UserError for what is damaged or does not fit."""
    from der.model.checkpoint import check_classes, load_checkpoint
    from der.train.batches import gather_step
    from der.train.compress import CompressInputs
    from der.train.step import choose_kernels

    device, train = environment.set_up_device(), given.section(TrainSettings, "train")
    given.load(device.type)
    new, before = project.train_images(step), project.checkpoint(step)
    steps, checkpoint = project.read_task(new, step), load_checkpoint(before)
    check_classes(before, checkpoint, steps)
    images = gather_step(read_classes(new, steps[-1]), load_memory(project.memory(step - 1)))
    network, kernels = checkpoint.metadata.network, None
    if environment.count_processes() == 1:  # the kernels normalise by the images of one process
        kernels = choose_kernels(network, settings, images, train.precision, device, warn)
    return CompressInputs(checkpoint, images, settings, train, device, kernels)


def training_key(step: int, inputs: "CompressInputs", fingerprint: str) -> str:
    """Return the key of a compression, see ``name_key``."""
    train = inputs.train
    settings = ["compress", step, train.seed, train.precision]
    settings += [to_values(inputs.settings), to_values(train.augmentation)]
    places = project.train_images(step), project.checkpoint(step), project.memory(step - 1)
    return name_key(settings, places, fingerprint, inputs.device, inputs.kernels)


def work(
    step: int, inputs: "CompressInputs", listener: Listener, keeper: StateKeeper
) -> tuple["Checkpoint", dict[str, StepMetrics], dict[str, float]]:
    """Compress the network; return metrics, and seconds for an image, of the whole and the compressed one.

    Each predicts by the nearest of the class means that its own features of the same exemplars have. The
    bytes of the compressed checkpoint are not known yet.
    """
    from der.evaluation.evaluate import evaluate_step
    from der.memory import describe_anew
    from der.model.network import features_of, images_per_pass
    from der.train.compress import compress, seconds_per_image

    whole, device = inputs.checkpoint, inputs.device
    normalization, names = whole.metadata.normalization, whole.metadata.class_names
    memory, tests = load_memory(project.memory(step)), read_classes(project.test_images(step), names)
    some = np.arange(min(images_per_pass(tests[0][0].size), sum(map(len, tests))))
    bytes_of = [SealedDirectory(one(step)).bytes() for one in (project.checkpoint, project.memory)]
    with environment.computing(f"compress {step}", device):
        made = compress(inputs, listener, keeper)
        anew = describe_anew(memory, features_of(made.network, normalization, device))
        networks, measured = {"whole": (whole, memory), "compressed": (made, anew)}, {}
        for name, (one, means) in networks.items():
            measured[name] = evaluate_step(
                one,
                means,
                tests,
                EvaluateSettings(len(names)),
                device,
                checkpoint_bytes=bytes_of[0] if one is whole else 0,
                memory_bytes=bytes_of[1],
            ).metrics
        pair = [one.network for one, _ in networks.values()]
        seconds = seconds_per_image(pair, normalization, every_row(tests).read(some), device)
    return made, measured, dict(zip(networks, seconds, strict=True))


if __name__ == "__main__":
    run_step("compress", run)
