"""What the stages that train share: the key of their state, the state itself, the display of progress."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from der.core import files
from der.pipeline import environment, timing
from der.train import log, resume

if TYPE_CHECKING:
    import torch

    from der.model.kernels.processor import Kernels


def name_key(
    settings: Sequence[Any],
    places: Sequence[Path],
    fingerprint: str,
    device: "torch.device",
    kernels: "Kernels | None",
) -> str:
    """Return the key of a training: a hash, for a file's name, of all that decides on the result."""
    from der.core.device import name_arithmetic  # only now: torch costs seconds

    digests = [files.SealedDirectory(place).digest for place in places]  # held to the files as those are read
    named = "" if kernels is None else kernels.name
    arithmetic = [*name_arithmetic(device), str(environment.count_processes()), named]
    return files.digest(json.dumps([settings, digests, fingerprint, arithmetic]).encode())


def training_state(key: str, warn: Callable[[str], None]) -> resume.StateStore:
    """Return the StateStore of ``key`` in the scratch directory; ``warn`` tells of damage, and of waiting."""
    mend = f"make room there, or set {environment.SCRATCH} to a directory elsewhere; it then goes on"
    root, clock = environment.scratch_root(), timing.running_clock()
    return resume.StateStore(root, key, warn, clock, f"{mend} from the last state")


@contextmanager
def listening(title: str) -> Iterator[log.Listener]:
    """Show progress under ``title``, and tell a listener that DER_LISTENER's function makes for ``title``."""
    make = environment.find_listener()
    with log.Progress(title) as progress:
        yield log.Several(progress, make(title)) if make else progress
