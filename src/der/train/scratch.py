"""Training state on disk, outside the repository: a killed run goes on from its last finished epoch."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from der.common.errors import UserError
from der.common.files import whole_file
from der.train.log import EpochRecord

KEPT = 2  # newest states of a phase: if one is damaged, the one before it serves
MAX_AGE = 14 * 24 * 3600  # seconds after which what a run left is removed
PREFIX = "der-"  # of directory names: the root may be shared with others
WAITING = "waiting"  # a file on which all who wait for the lock hold a shared one
DIGEST = hashlib.sha256().digest_size


class Saved(NamedTuple):
    """What a phase of training needs to go on after an epoch."""

    records: list[EpochRecord]  # of the epochs done
    state: Tensor  # flat float32, as of Engine.pack


class Scratch:
    """The scratch directory of one run of one stage: a context manager that holds its lock.

    ``key`` names everything the run depends on, so that changed parameters never meet old state.
    ``warn`` hears a sentence about state that cannot be used, and who holds the lock if another process is
    running the same: this one waits, and then goes on from the other's last state.
    """

    def __init__(self, root: Path, key: str, warn: Callable[[str], None]) -> None:
        self.root = root
        self.directory = root / f"{PREFIX}{key}"
        self.warn = warn
        self.pending: Future[None] | None = None

    def __enter__(self) -> "Scratch":
        try:
            self.lock = self._take_lock()
            remove_old(self.root, MAX_AGE)
        except OSError as error:
            raise self._unwritable(error) from None
        self.writer = ThreadPoolExecutor(max_workers=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.shutdown()
        self.lock.close()

    def load(self, phase: str) -> Saved | None:
        """The newest whole state of ``phase``; damaged ones are set aside with a warning."""
        for path in sorted(self.directory.glob(f"{phase}-*.state"), reverse=True):
            content = path.read_bytes()
            if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
                tensors = load(content[DIGEST:])
                return Saved(_records(tensors["records"]), tensors["state"])
            path.replace(path.with_suffix(".damaged"))
            self.warn(f"{path}: damaged, set aside; going on from the state before it, if any")
        return None

    def save(self, phase: str, saved: Saved) -> None:
        """Write the state of ``phase`` after an epoch, in the background; ``saved`` must not change.

        While an earlier write is still under way this one is left out: short epochs never wait for the
        disk. Raises UserError if an earlier write failed.
        """
        if self.pending is not None:
            if not self.pending.done():
                return
            self._raise_failure(self.pending)
        self.pending = self.writer.submit(self._write, phase, saved)

    def remove(self) -> None:
        """Delete the state: the stage's outputs are written. To a process that waits for it, it is left."""
        self.writer.shutdown()
        with suppress(OSError), (self.directory / WAITING).open("ab") as waiting:
            if _lock_now(waiting):
                shutil.rmtree(self.directory, ignore_errors=True)

    def _take_lock(self) -> FileIO:
        while True:
            self.directory.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # removed just now, by the process that held it
                if (lock := self._lock_file()) is not None:
                    return lock

    def _lock_file(self) -> FileIO | None:
        """The lock, waited for if need be; None if its file was replaced meanwhile."""
        path = self.directory / "lock"
        os.utime(self.directory)  # in use again, however old
        lock = path.open("a+b", buffering=0)
        try:
            if not _lock_now(lock):
                self._wait_for(lock)
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                lock.truncate(0)
                lock.write(f"process {os.getpid()}".encode())
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()
        return None

    def _wait_for(self, lock: FileIO) -> None:
        with (self.directory / WAITING).open("ab") as waiting:
            fcntl.flock(waiting, fcntl.LOCK_SH)
            lock.seek(0)
            holder = lock.read().decode() or "another process"
            self.warn(f"{self.directory}: in use by {holder}; waiting until it ends")
            fcntl.flock(lock, fcntl.LOCK_EX)

    def _write(self, phase: str, saved: Saved) -> None:
        text = json.dumps(saved.records).encode()
        content = save(
            {"state": saved.state, "records": torch.frombuffer(bytearray(text), dtype=torch.uint8)}
        )
        with whole_file(self.directory / f"{phase}-{len(saved.records):06}.state") as partial:
            partial.write_bytes(hashlib.sha256(content).digest() + content)
        for path in sorted(self.directory.glob(f"{phase}-*.state"))[:-KEPT]:
            path.unlink()

    def _raise_failure(self, done: Future[None]) -> None:
        try:
            done.result()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.directory}: training state cannot be written ({error.strerror}); make room, or set "
            "DER_SCRATCH to a directory elsewhere, and run again: it goes on from the last state"
        )


def _lock_now(file: IO[bytes]) -> bool:
    """Take the lock of a file, unless others hold it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _records(text: Tensor) -> list[EpochRecord]:
    return [EpochRecord(*record) for record in json.loads(text.numpy().tobytes())]


def remove_old(root: Path, age: float) -> None:
    """Remove scratch directories under ``root`` in which nobody has written for ``age`` seconds."""
    for directory in root.glob(f"{PREFIX}*"):
        try:
            if (directory / "lock").exists() and time.time() - directory.stat().st_mtime > age:
                shutil.rmtree(directory, ignore_errors=True)
        except FileNotFoundError:  # removed by another process just now
            continue
