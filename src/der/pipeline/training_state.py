"""The user's training state: under which key and where it lies, and what to do if there is no room for it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from msgspec.structs import replace

from der.core.atomic import atomic_file
from der.core.device import name_arithmetic
from der.core.errors import UserError
from der.core.sealed import SealedDirectory
from der.model.kernels.processor import Kernels
from der.pipeline import paths
from der.pipeline.environment import SCRATCH, scratch_root
from der.pipeline.processes import count_processes
from der.pipeline.timing import running_clock
from der.settings.sections import NetworkSettings, to_values
from der.settings.training import TrainSettings
from der.train.resume.key import state_key
from der.train.resume.removal import PREFIX
from der.train.resume.store import StateStore, UnwritableState

PROCESSES_NOTE = "processes.json"  # in a directory of state


class TrainingKey(NamedTuple):
    """What a training depends on, hashed: ``whole``, and ``task`` without the machine and its processes."""

    whole: str
    task: str


def training_key(
    step: int,
    network: NetworkSettings,
    train: TrainSettings,
    fingerprint: str,
    device: torch.device,
    kernels: Kernels | None,
) -> TrainingKey:
    """The key of the training of ``step``: parameters, inputs, code (its ``fingerprint``) and machine.

    ``kernels`` are those that the step is trained with.
    """
    inputs = (paths.train_images(step), paths.checkpoint(step - 1), paths.memory(step - 1))
    named = replace(network, weights=None)  # which the first of the inputs holds
    settings = [step, to_values(named), to_values(train.recipe(step))]
    digests = [SealedDirectory(path).digest for path in inputs]  # held to the files as those are read
    machine = [*name_arithmetic(device), str(count_processes()), "" if kernels is None else kernels.name]
    return TrainingKey(*(state_key(settings, digests, fingerprint, one) for one in (machine, [])))


@contextmanager
def training_state(key: TrainingKey, warn: Callable[[str], None]) -> Iterator[StateStore]:
    """The StateStore of ``key`` in the scratch directory; raises UserError if it cannot be written.

    What earlier runs of the training cost counts as the running stage's time. ``warn`` hears if there is
    state of the same training by another number of processes, from which other arithmetic would go on.
    """
    try:
        with StateStore(scratch_root(), key.whole, warn, running_clock()) as store:
            _note_processes(store.directory, key.task, warn)
            yield store
    except UnwritableState as error:
        raise UserError(
            f"{error}, or set {SCRATCH} to a directory elsewhere, and run again: it goes on from the last "
            "state"
        ) from None


def _note_processes(directory: Path, task: str, warn: Callable[[str], None]) -> None:
    """Leave a note of how many processes train, and read those of other state of the same training."""
    own = [task, count_processes()]
    note = directory / PROCESSES_NOTE
    if not note.exists():
        for other in directory.parent.glob(f"{PREFIX}*/{PROCESSES_NOTE}"):
            with suppress(OSError, ValueError, TypeError):
                found, count = json.loads(other.read_bytes())
                if found == task and count != own[1]:
                    warn(f"begins anew with {own[1]} at once; what {count} at once have trained stays there")
        with atomic_file(note) as partial:
            partial.write_text(json.dumps(own), encoding="utf-8")
