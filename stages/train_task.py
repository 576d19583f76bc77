"""train_task@k: the checkpoint of step k from that of step k - 1."""

from functools import partial

from der.pipeline import paths
from der.pipeline.environment import set_up_device
from der.pipeline.markers import is_unused, mark_unused
from der.pipeline.params import load_section
from der.pipeline.processes import count_processes, is_member
from der.pipeline.running_code import RunningCode
from der.pipeline.stage import run_step
from der.pipeline.tasks import read_task
from der.pipeline.team import team
from der.settings.network import NetworkSettings
from der.settings.training import TrainSettings


def run(step: int, code: RunningCode) -> str:
    if is_unused(paths.train_images(step)):
        return mark_unused("train_task", step, paths.checkpoint(step), paths.training(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.data.class_arrays import read_classes
    from der.data.exemplars import load_memory
    from der.model.checkpoint import check_classes, load_previous, load_start, save_checkpoint
    from der.pipeline.curves import curves
    from der.pipeline.training_state import training_key, training_state
    from der.pipeline.upcoming import plan_run
    from der.train.incremental_step import train_step
    from der.train.listeners import Several
    from der.train.log import write_log
    from der.train.processor_kernels import choose_kernels
    from der.train.progress import Progress, warn
    from der.train.rebalancing.classifier_learning import warn_of_few
    from der.train.shared_state import SharedState
    from der.train.step_run import Listener, NoState
    from der.train.training_images import gather_step

    network = load_section(NetworkSettings, "network")
    train = load_section(TrainSettings, "train")
    device = set_up_device()
    code.load(device.type)
    steps = read_task(paths.train_images(step), step)
    previous = load_previous(paths.checkpoint(step - 1))
    check_classes(paths.checkpoint(step - 1), previous, steps[:-1])
    start = load_start(paths.checkpoint(step - 1))
    new_classes = read_classes(paths.train_images(step), steps[-1])
    images = gather_step(new_classes, load_memory(paths.memory(step - 1)))
    script = ("stages.train_task", str(step))
    learn = partial(train_step, previous, steps, images, network, train, device)
    if is_member():
        with team(script, device):
            learn(Listener(), SharedState(NoState()), start)
        return ""
    warn_of_few(steps, images, train, warn)
    alone = count_processes() == 1  # the kernels normalise by the images of one process
    kernels = (
        choose_kernels(network, train.phase(step), images, train.precision, device, warn) if alone else None
    )
    key = training_key(step, network, train, code.text, device, kernels)
    with training_state(key, warn) as state:
        run = plan_run(step, images, train, expansion=network.grows)
        with (
            Progress(f"train_task {step}", run) as progress,
            curves(step, key.whole, warn) as writer,
            team(script, device),
        ):
            trained, records = learn(Several(progress, writer), SharedState(state), start, kernels)
        code.confirm()
        save_checkpoint(paths.checkpoint(step), trained, paths.checkpoint(step - 1))
        write_log(paths.training(step), records)
        state.finish(paths.checkpoint(step))
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.metadata.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


if __name__ == "__main__":
    run_step("train_task", run)
