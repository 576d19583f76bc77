"""train_task@k: the checkpoint of step k from that of step k - 1."""

from der.core.sealed import SealedDirectory
from der.pipeline import paths
from der.pipeline.environment import is_worker, set_up_device
from der.pipeline.launch import computing
from der.pipeline.paths import is_unused, mark_unused
from der.pipeline.stage import Given, run_step
from der.pipeline.training import listening, read_inputs, training_key, training_state
from der.train.log import Listener, write_log
from der.train.progress import warn
from der.train.resume import StateKeeper


def run(step: int, given: Given) -> str:
    if is_unused(paths.train_images(step)):
        return mark_unused("train_task", step, paths.checkpoint(step), paths.training(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.model.checkpoint import save_checkpoint
    from der.train.step import train_step

    device = set_up_device()
    given.load(device.type)
    if is_worker():
        inputs = read_inputs(step, device, lambda sentence: None)
        with computing(f"train_task {step}", device):
            train_step(inputs, Listener(), StateKeeper())
        return ""
    inputs = read_inputs(step, device, warn)
    key = training_key(step, inputs, device, given.text)
    with training_state(key, warn) as state:
        with listening(step, key, warn) as listener, computing(f"train_task {step}", device):
            trained, records = train_step(inputs, listener, state)
        given.confirm()
        save_checkpoint(paths.checkpoint(step), trained, paths.checkpoint(step - 1))
        write_log(paths.training(step), records)
        state.finish(SealedDirectory(paths.checkpoint(step)).digest)
    return (
        f"train_task {step}: {trained.network.classes} classes, {trained.metadata.parameters:,} parameters, "
        f"training accuracy {records[-1].accuracy:.2f} %"
    )


if __name__ == "__main__":
    run_step("train_task", run)
