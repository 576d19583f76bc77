"""train_task@k: the checkpoint of step k from that of step k - 1."""

import os

from stages.common import paths
from stages.common.command import run_step
from stages.common.params import load_settings
from stages.common.unused import is_unused, mark_unused, read_task
from stages.finished import FINISHED, mark_of, scratch_root


def run(step: int) -> str:
    settings = load_settings()
    if is_unused(step):
        return mark_unused("train_task", step, paths.checkpoint(step), paths.training_log(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.data.class_arrays import read_classes
    from der.device import set_up_device
    from der.memory.exemplars import check_budget, load_memory
    from der.model.checkpoint import check_classes, load_checkpoint, save_checkpoint
    from der.train.images import gather_step
    from der.train.log import write_log
    from der.train.scratch import Scratch
    from der.train.step import train_step
    from stages.progress import Progress, warn
    from stages.scratch import scratch_key

    device = set_up_device(os.environ.get("DER_DEVICE"))
    steps = read_task(step)
    check_budget(settings.memory, sum(map(len, steps)))  # build_memory would refuse, after the training
    previous = load_checkpoint(paths.checkpoint(step - 1))
    check_classes(paths.checkpoint(step - 1), previous, steps[:-1])
    new_classes = read_classes(paths.task(step) / "train", steps[-1])
    images = gather_step(new_classes, load_memory(paths.memory(step - 1)))
    key = scratch_key(step, settings.network, settings.train, device)
    with Scratch(scratch_root(), key, warn) as scratch:
        with Progress(f"train_task {step}") as progress:
            trained, records = train_step(
                previous, steps, images, settings.network, settings.train, device, progress, scratch
            )
        save_checkpoint(paths.checkpoint(step), trained, paths.checkpoint(step - 1))
        write_log(paths.training_log(step), records)
        scratch.mark(FINISHED, mark_of(step))
    assert trained.card is not None
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.card.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


if __name__ == "__main__":
    run_step(run)
