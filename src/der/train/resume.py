"""Training state on disk, outside the repository: a killed step resumes from its last saved epoch.

Each training has a directory, named by its key. It holds the state, one file that is replaced as a whole, and
a lock, so that only one process trains the same step. After a kill a finished step may run again, if DVC has
not taken its outputs over. So the state stays until its checkpoint is used.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from der.core import cost, errors, files
from der.train.log import EpochRecord

if TYPE_CHECKING:  # removing state needs no torch, which takes seconds to import
    from torch import Tensor

    Pack = Callable[[], Tensor]

Warn = Callable[[str], None]

PREFIX = "der-"  # of the directories; the root may hold other things, which stay
STATE, LOCK = "state", "lock"  # files of a directory
HOLDER, FINISHED = "holder", "finished"  # which process holds the lock; digest of the checkpoint it led to
MAX_AGE = 14 * 24 * 3600  # seconds after which unused state is removed
FRACTION = 0.01  # of the time, at most, that training waits for its state to be written


class Saved(NamedTuple):
    """The state from which a phase of training resumes after an epoch."""

    records: list[EpochRecord]  # of the epochs done
    state: "Tensor"  # flat float32, as of Engine.pack


class StateKeeper:
    """Base class of stores of state; this one stores nothing, and an interrupted step begins again."""

    def load(self, phase: str) -> Saved | None:
        """The newest state of ``phase``, if there is any."""
        return None

    def save(self, phase: str, records: list[EpochRecord], pack: "Pack", *, last: bool) -> None:
        """Store the state of ``phase`` after an epoch, which ``pack`` copies; always after the ``last``."""


class StateStore(StateKeeper):
    """Stores the state of one training on disk; as a context manager it holds the training's lock.

    ``key`` depends on everything that the training depends on, so changed parameters never use old state. If
    another process trains the same step, this one waits and resumes from the other's last state. ``warn``
    tells of this, and of damaged state. ``clock`` counts the training's cost, earlier runs included. ``mend``
    says what to do where state cannot be written.
    """

    def __init__(
        self, root: Path, key: str, warn: Warn, clock: cost.WorkClock | None = None, mend: str = "make room"
    ) -> None:
        self.directory, self.warn, self.mend = root / f"{PREFIX}{key}", warn, mend
        self.clock = clock or cost.WorkClock()
        self.phases: dict[str, Saved] = {}
        self.next_write = 0.0  # when, as of time.perf_counter

    def __enter__(self) -> "StateStore":
        lock, holder = FileLock(self.directory / LOCK), self.directory / HOLDER
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            os.utime(self.directory)  # in use again, however old
            try:
                lock.acquire(timeout=0)
            except Timeout:
                named = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
                self.warn(f"{self.directory}: in use by {named}; waiting until it ends")
                with cost.waiting():
                    lock.acquire()
            holder.write_text(f"process {os.getpid()}", encoding="utf-8")
            remove_old(self.directory.parent)
        except OSError as error:
            raise self._unwritable(error) from None
        self.lock = lock
        path = self.directory / STATE
        try:
            self.phases, self.clock.earlier = deserialize(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            path.replace(path.with_suffix(".damaged"))
            self.warn(f"{path}: damaged, set aside; the step begins anew")
        return self

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def load(self, phase: str) -> Saved | None:
        if (saved := self.phases.get(phase)) is not None:
            self.clock.epochs[phase] = len(saved.records)
        return saved

    def save(self, phase: str, records: list[EpochRecord], pack: "Pack", *, last: bool) -> None:
        """Write the state, unless it takes over FRACTION of the time; raises UserError if that fails."""
        begin = time.perf_counter()
        self.clock.epochs[phase] = len(records)
        if begin < self.next_write and not last:
            return
        self.phases[phase] = Saved(list(records), pack())
        try:
            with files.atomic_file(self.directory / STATE) as partial:
                partial.write_bytes(serialize(self.phases, self.clock.spent()))
        except OSError as error:
            raise self._unwritable(error) from None
        end = time.perf_counter()
        self.next_write = end + (end - begin) / FRACTION

    def finish(self, checkpoint: str) -> None:
        """Mark the state with the digest of its checkpoint, which differs for every training."""
        (self.directory / FINISHED).write_text(checkpoint, encoding="utf-8")

    def _unwritable(self, error: OSError) -> errors.UserError:
        fault = f"{self.directory}: training state cannot be written ({error.strerror})"
        return errors.UserError(f"{fault}; {self.mend}")


def remove_finished(root: Path, checkpoint: str) -> None:
    """Remove the training state below ``root`` that led to the checkpoint of this digest."""
    _remove_unused(root, lambda found: (found / FINISHED).read_bytes() == checkpoint.encode())


def remove_old(root: Path, age: float = MAX_AGE) -> None:
    """Remove the state below ``root`` that nobody has written for ``age`` seconds."""
    _remove_unused(root, lambda found: time.time() - found.stat().st_mtime > age)


def _remove_unused(root: Path, wanted: Callable[[Path], bool]) -> None:
    """Remove the ``wanted`` directories of state, unless a process uses them; ignore errors."""
    for found in root.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if (found / LOCK).exists() and wanted(found):
                with FileLock(found / LOCK).acquire(timeout=0):
                    shutil.rmtree(found, ignore_errors=True)


def serialize(phases: Mapping[str, Saved], spent: cost.Spent) -> bytes:
    """Write a file's bytes: the SHA-256 of the rest, a line of JSON, and the phases' states in a row."""
    header = [(name, saved.records, saved.state.numel()) for name, saved in phases.items()]
    states = b"".join(saved.state.numpy().tobytes() for saved in phases.values())
    content = json.dumps([spent, header]).encode() + b"\n" + states
    return hashlib.sha256(content).digest() + content


def deserialize(content: bytes) -> tuple[dict[str, Saved], cost.Spent]:
    """Read the bytes of ``serialize``; raises ValueError if they are not whole."""
    import torch

    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError("not as it was written")
    line, _, values = content[32:].partition(b"\n")
    spent, header = json.loads(line)
    states = torch.from_numpy(np.frombuffer(values, np.float32).copy()).split([size for *_, size in header])
    records = {name: [EpochRecord(*one) for one in listed] for name, listed, _ in header}
    return dict(zip(records, map(Saved, records.values(), states), strict=True)), cost.Spent(*spent)
