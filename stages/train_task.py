"""train_task@k: the checkpoint of step k from that of step k - 1."""

import os

from der.project import paths
from der.project.environment import scratch_root
from der.project.markers import mark_unused
from der.project.params import load_section
from der.project.stage import run_step
from der.project.tasks import is_unused, read_task
from der.settings.memory import MemorySettings
from der.settings.network import NetworkSettings
from der.settings.training import TrainSettings
from der.train.resume.finished import FINISHED, mark_of


def run(step: int) -> str:
    network = load_section(NetworkSettings, "network")
    train = load_section(TrainSettings, "train")
    memory = load_section(MemorySettings, "memory")
    if is_unused(step):
        return mark_unused("train_task", step, paths.checkpoint(step), paths.training_log(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.common.device import set_up_device
    from der.data.class_arrays import read_classes
    from der.data.exemplars import load_memory
    from der.memory.budget import check_budget
    from der.model.checkpoint import check_classes, load_previous, save_checkpoint
    from der.train.incremental_step import train_step
    from der.train.log import write_log
    from der.train.progress import Progress, warn
    from der.train.resume.key import scratch_key
    from der.train.resume.store import StateStore
    from der.train.training_images import gather_step

    device = set_up_device(os.environ.get("DER_DEVICE"))
    steps = read_task(step)
    check_budget(memory, sum(map(len, steps)))  # build_memory would refuse, after the training
    previous = load_previous(paths.checkpoint(step - 1))
    check_classes(paths.checkpoint(step - 1), previous, steps[:-1])
    new_classes = read_classes(paths.task(step) / "train", steps[-1])
    images = gather_step(new_classes, load_memory(paths.memory(step - 1)))
    key = scratch_key(step, network, train, device)
    with StateStore(scratch_root(), key, warn) as scratch:
        with Progress(f"train_task {step}") as progress:
            trained, records = train_step(previous, steps, images, network, train, device, progress, scratch)
        save_checkpoint(paths.checkpoint(step), trained, paths.checkpoint(step - 1))
        write_log(paths.training_log(step), records)
        scratch.mark(FINISHED, mark_of(paths.checkpoint(step)))
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.metadata.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


if __name__ == "__main__":
    run_step(run)
