"""compress@k: one extractor that has learned the outputs of the network after step k, measured beside it.

Torch, which costs seconds, is imported where it is needed.
"""

from typing import TYPE_CHECKING

from der.core.files import SealedDirectory, sealed_directory, write_json
from der.data.arrays import Memory, load_memory, read_classes, read_step
from der.evaluation.results import METRICS, StepMetrics
from der.model.checkpoint import Checkpoint, check_classes, load_checkpoint, save_checkpoint
from der.pipeline import environment, project, timing
from der.pipeline.stage import Given, run_step
from der.settings.sections import EvaluateSettings, TrainSettings, to_values

if TYPE_CHECKING:
    import torch


def run(step: int, given: Given) -> str:
    settings, new = project.read_compression(step), project.train_images(step)
    place, metrics = project.compressed(step), project.compression(step)
    if settings is None or project.is_unused(new):
        return project.mark_unused("compress", step, place, metrics, why="not asked for")
    # Only now: what follows imports torch, which costs seconds.
    from der.pipeline import training
    from der.train import log, resume
    from der.train.batches import gather_step
    from der.train.compress import compress, seconds_per_image
    from der.train.engine import StepRun, choose_kernels

    device, train = environment.set_up_device(), given.section(TrainSettings, "train")
    given.load(device.type)
    whole, steps = load_checkpoint(project.checkpoint(step)), project.read_task(new, step)
    check_classes(project.checkpoint(step), whole.metadata, steps)
    more, classes = read_step(new, steps)
    images = gather_step(classes, load_memory(project.memory(step - 1)).beside(more))
    network, normalization, kernels = whole.metadata.network, whole.metadata.normalization, None
    if environment.count_processes() == 1:  # the kernels normalise by the images of one process
        kernels = choose_kernels(network, settings.schedule, images, train.precision, device, log.warn)

    def work(
        listener: log.Listener, keeper: resume.StateKeeper
    ) -> tuple[Checkpoint, dict[str, StepMetrics], dict[str, float]]:
        run = StepRun(step, 0, normalization, train, device, listener, keeper, kernels)
        with environment.computing(f"compress {step}", device):
            made = compress(run, whole, images, settings)
            measured = measure(step, whole, made, device)
            return made, measured, seconds_per_image({"whole": whole, "compressed": made}, images, device)

    if environment.is_worker():
        work(log.Listener(), resume.StateKeeper())
        return ""
    decisive = [step, to_values(settings), train.seed, train.precision, to_values(train.augmentation)]
    inputs = new, project.checkpoint(step), project.memory(step - 1)
    key = training.name_key(["compress", *decisive], inputs, given.text, device, kernels)
    with training.training_state(key, log.warn) as state:
        with training.listening(f"compress {step}") as listener:
            made, measured, timing.running_clock().speeds = work(listener, state)
        given.confirm()
        save_checkpoint(place, made)
        measured["compressed"]["checkpoint_bytes"] = SealedDirectory(place).bytes()
        with sealed_directory(metrics) as directory:
            write_json(directory / METRICS, measured)
        state.finish(SealedDirectory(place).digest)
    accuracies = [f"{one['top1']:.2f} % {name}" for name, one in measured.items()]
    return f"compress {step}: top-1 {', '.join(accuracies)}"


def measure(
    step: int, whole: Checkpoint, compressed: Checkpoint, device: "torch.device"
) -> dict[str, StepMetrics]:
    """Evaluate both networks on the step's test images; the compressed one has no bytes yet.

    Each predicts by the nearest of the class means that its own features of the exemplars have.
    """
    from der.evaluation.evaluate import evaluate_step
    from der.model.network import outputs_of
    from der.train.compress import with_own_means

    memory = load_memory(project.memory(step))
    tests = read_classes(project.test_images(step), whole.metadata.class_names)
    memory_bytes = SealedDirectory(project.memory(step)).bytes()

    def judge(one: Checkpoint, means: Memory, size: int) -> StepMetrics:
        settings = EvaluateSettings(group_labels=len(tests))
        outputs = outputs_of(one.network, one.metadata.normalization, device)(tests)
        given = one.metadata, means, tests, outputs, settings
        return evaluate_step(*given, checkpoint_bytes=size, memory_bytes=memory_bytes).metrics

    return {
        "whole": judge(whole, memory, SealedDirectory(project.checkpoint(step)).bytes()),
        "compressed": judge(compressed, with_own_means(memory, compressed, device), 0),
    }


if __name__ == "__main__":
    run_step("compress", run)
