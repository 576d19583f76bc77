"""The user's training state: under which key and where it lies, and what to do if there is no room for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from msgspec.structs import replace

from der.common.device import name_arithmetic
from der.common.errors import UserError
from der.common.sealed import SealedDirectory
from der.model.kernels.processor import Kernels
from der.project import paths
from der.project.environment import SCRATCH, scratch_root
from der.project.timing import running_clock
from der.settings.network import NetworkSettings
from der.settings.section import to_values
from der.settings.training import TrainSettings
from der.train.resume.key import state_key
from der.train.resume.store import StateStore, UnwritableState


def training_key(
    step: int,
    network: NetworkSettings,
    train: TrainSettings,
    fingerprint: str,
    device: torch.device,
    kernels: Kernels | None,
) -> str:
    """The key of the training of ``step``: parameters, inputs, code (its ``fingerprint``) and machine.

    ``kernels`` are those that the step is trained with.
    """
    inputs = (paths.train_images(step), paths.checkpoint(step - 1), paths.memory(step - 1))
    named = replace(network, weights=None)  # which the first of the inputs holds
    settings = [step, to_values(named), to_values(train.recipe(step))]
    digests = [SealedDirectory(path).digest for path in inputs]  # held to the files as those are read
    arithmetic = [*name_arithmetic(device), "" if kernels is None else kernels.name]
    return state_key(settings, digests, fingerprint, arithmetic)


@contextmanager
def training_state(key: str, warn: Callable[[str], None]) -> Iterator[StateStore]:
    """The StateStore of ``key`` in the scratch directory; raises UserError if it cannot be written.

    What earlier runs of the training cost counts as the running stage's time.
    """
    try:
        with StateStore(scratch_root(), key, warn, running_clock()) as store:
            yield store
    except UnwritableState as error:
        raise UserError(
            f"{error}, or set {SCRATCH} to a directory elsewhere, and run again: it goes on from the last "
            "state"
        ) from None
