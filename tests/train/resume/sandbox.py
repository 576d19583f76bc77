"""Training state of known content, and directories to keep it in."""

import os
from concurrent import futures
from pathlib import Path

import torch

from der.core.work_clock import WorkClock
from der.train.log import EpochRecord
from der.train.resume import HOLDER, LOCK, WAITING
from der.train.resume import MAX_AGE
from der.train.resume import Saved
from der.train.resume import SPENT, StateStore

VALUES = 1000


def make_saved(epochs: int, values: int = VALUES) -> Saved:
    """The state after ``epochs`` epochs, with floats that no short decimal equals."""
    state = torch.randn(values, generator=torch.Generator().manual_seed(epochs))
    records = [
        EpochRecord("phase", n, 0.1 / n, 1 / (3 * n), 1e-300 / n, 100 / n) for n in range(1, epochs + 1)
    ]
    return Saved(records, state)


def save(scratch: StateStore, epochs: int, phase: str = "phase", *, last: bool = True) -> None:
    saved = make_saved(epochs)
    scratch.save(phase, saved.records, lambda: saved.state, last=last)


def keep(scratch: StateStore, epochs: int, phase: str = "phase") -> None:
    """Save, and wait for the write."""
    save(scratch, epochs, phase)
    assert scratch.pending is not None
    futures.wait([scratch.pending])


def states(scratch: StateStore) -> list[str]:
    """All files but the locks, and what the run cost."""
    return sorted(
        path.name for path in scratch.directory.iterdir() if path.name not in (LOCK, WAITING, HOLDER, SPENT)
    )


class Sandbox:
    """Opens scratch directories under one root, and keeps the warnings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []

    def open(self, key: str = "key", clock: WorkClock | None = None) -> StateStore:
        return StateStore(self.root, key, self.warnings.append, clock)

    def directories(self) -> list[str]:
        """The names of all directories of state."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir())

    def loaded(self, phase: str = "phase") -> int | None:
        """Epochs of the state that a new run finds, which must be that of ``make_saved``."""
        with self.open() as scratch:
            saved = scratch.load(phase)
        if saved is None:
            return None
        expected = make_saved(len(saved.records))
        assert saved.records == expected.records
        assert torch.equal(saved.state, expected.state)
        return len(saved.records)


def make_state(sandbox: Sandbox, key: str) -> Path:
    with sandbox.open(key) as scratch:
        keep(scratch, 1)
    return scratch.directory


def make_old(path: Path) -> None:
    """As last written just before ``MAX_AGE``."""
    moment = path.stat().st_mtime - MAX_AGE - 60
    os.utime(path, (moment, moment))
