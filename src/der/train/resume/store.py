"""Training state on disk, outside the repository: a killed run goes on from its last finished epoch."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from der.common.atomic import atomic_file
from der.common.errors import UserError
from der.train.log import EpochRecord
from der.train.resume.locks import LOCK, WAITING, lock_now, remove_unused

KEPT = 2  # newest states of a phase: if one is damaged, the one before it serves
MAX_AGE = 14 * 24 * 3600  # seconds after which what a run left is removed
PREFIX = "der-"  # of directory names: the root may be shared with others
SHARE = 0.02  # of the time, at most, that training waits for its state to be copied
DIGEST = hashlib.sha256().digest_size
LENGTH = 8  # bytes of the number of bytes of the records


class Saved(NamedTuple):
    """What a phase of training needs to go on after an epoch."""

    records: list[EpochRecord]  # of the epochs done
    state: Tensor  # flat float32, as of Engine.pack


class StateStore:
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
        self.copying = 0.0  # seconds

    def __enter__(self) -> "StateStore":
        try:
            self.lock = self._take_lock()
            remove_old(self.root, MAX_AGE)
        except OSError as error:
            raise self._unwritable(error) from None
        self.writer = ThreadPoolExecutor(max_workers=1)
        self.entered = time.perf_counter()
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
                return _parse(content[DIGEST:])
            path.replace(path.with_suffix(".damaged"))
            self.warn(f"{path}: damaged, set aside; going on from the state before it, if any")
        return None

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        """Write the state of ``phase`` after an epoch, which ``pack`` copies, in the background.

        Left out while an earlier write is under way, and where copying would take more than SHARE of the
        time: epochs of less than about a second do not wait for the disk. Not so after the ``last`` epoch.
        Raises UserError if an earlier write failed.
        """
        begin = time.perf_counter()
        if self.pending is not None:
            busy = not self.pending.done() or self.copying > SHARE * (begin - self.entered)
            if busy and not last:
                return
            self._finish_write(self.pending)
        saved = Saved(list(records), pack())
        self.copying += time.perf_counter() - begin
        self.pending = self.writer.submit(self._write, phase, saved)

    def mark(self, name: str, text: str) -> None:
        """Wait for the last write, and leave a file with ``text`` beside the state."""
        if self.pending is not None:
            self._finish_write(self.pending)
        try:
            with atomic_file(self.directory / name) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from None

    def _take_lock(self) -> FileIO:
        while True:
            self.directory.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # removed just now, by the process that held it
                if (lock := self._lock_file()) is not None:
                    return lock

    def _lock_file(self) -> FileIO | None:
        """The lock, waited for if need be; None if its file was replaced meanwhile."""
        path = self.directory / LOCK
        os.utime(self.directory)  # in use again, however old
        lock = path.open("a+b", buffering=0)
        try:
            if not lock_now(lock):
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
        # The state as it lies in memory: hashing and writing it leave other threads running.
        state = saved.state.numpy().data.cast("B")
        parts: list[bytes | memoryview] = [len(text).to_bytes(LENGTH, "little"), text, state]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        path = self.directory / f"{phase}-{len(saved.records):06}.state"
        with atomic_file(path) as partial, partial.open("wb") as stream:
            for part in (digest.digest(), *parts):
                stream.write(part)
        for old in sorted(self.directory.glob(f"{phase}-*.state"))[:-KEPT]:
            old.unlink()

    def _finish_write(self, write: Future[None]) -> None:
        try:
            write.result()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.directory}: training state cannot be written ({error.strerror}); make room, or set "
            "DER_SCRATCH to a directory elsewhere, and run again: it goes on from the last state"
        )


def _parse(content: bytes) -> Saved:
    start = LENGTH + int.from_bytes(content[:LENGTH], "little")
    records = [EpochRecord(*record) for record in json.loads(content[LENGTH:start])]
    return Saved(records, torch.from_numpy(np.frombuffer(content, np.float32, offset=start).copy()))


def remove_old(root: Path, age: float) -> None:
    """Remove scratch directories under ``root`` in which nobody has written for ``age`` seconds, or works."""
    for directory in root.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # removed by another process just now
            if (directory / LOCK).exists() and time.time() - directory.stat().st_mtime > age:
                remove_unused(directory)
