"""A phase of training: an engine run over the epochs of a schedule, resumable after each."""

from collections.abc import Callable
from contextlib import nullcontext

from der.core import distributed
from der.core.errors import UserError
from der.core.randomness import lending
from der.settings.training import ScheduleSettings
from der.train.engine import Engine
from der.train.log import EpochRecord
from der.train.schedule import learning_rate
from der.train.step_run import StepRun


def run_phase(
    run: StepRun,
    name: str,
    engine: Engine,
    phase: ScheduleSettings,
    images: int,
    when_warm: Callable[[], None] | None = None,
) -> list[EpochRecord]:
    """Train for ``phase.epochs`` epochs over ``images`` images, those that the keeper holds excepted.

    An epoch is a function of the state before it, its index and the settings, so that a resumed phase
    ends as an uninterrupted one does. ``when_warm`` is called before the first epoch after warm-up. Raises
    UserError naming step and epoch if the loss is not finite.
    """
    run.listener.on_phase(name, phase.epochs, images)
    records: list[EpochRecord] = []
    saved = run.keeper.load(name)  # rank 0's; the workers keep none
    distributed.barrier()  # reading may take longer than a rank has to answer
    if (saved := distributed.broadcast(saved)) is not None:
        engine.unpack(saved.state)
        records = list(saved.records)
        run.listener.on_resume(len(records))
    drawing = engine.may_draw()  # if not, draws of other threads are left alone
    for epoch in range(len(records), phase.epochs):
        if when_warm is not None and epoch == phase.warmup_epochs:
            when_warm()
        rate = learning_rate(phase, epoch)
        try:
            with lending(run.own_stream(name, epoch), run.device) if drawing else nullcontext():
                means = engine.run_epoch(run.draws(name, images, epoch), rate, run.listener.on_images)
        except UserError as error:
            raise UserError(f"step {run.step}, {name}, epoch {epoch + 1}: {error}") from None
        records.append(EpochRecord(name, epoch + 1, rate, *means))
        run.keeper.save(name, records, engine.pack, last=epoch == phase.epochs - 1)
        run.listener.on_epoch(records[-1])
        distributed.barrier()  # rank 0 writes, which may take longer than a rank has to answer
    return records
