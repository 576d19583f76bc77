"""Training state on disk, outside the repository: a killed run goes on from its last finished epoch."""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from torch import Tensor

from der.core.cost import Spent, WorkClock, waiting
from der.core.errors import UserError
from der.core.files import atomic_file, regular
from der.train.log import EpochRecord
from der.train.resume.lock import working_in
from der.train.resume.removal import FINISHED, PREFIX, mark_of, remove_old
from der.train.resume.state import Saved, deserialize, serialize

KEPT = 2  # newest states of a phase: if one is damaged, the one before it serves
SPENT = "spent.json"  # a file beside the states: seconds until the newest, and runs
SHARE = 0.02  # of the time, at most, that training waits for its state to be copied


class UnwritableState(UserError):
    """No room for training state, or no permission to write it."""


class StateStore:
    """The directory of training state of one run: a context manager that holds its lock.

    ``key`` names everything the run depends on, so that changed parameters never meet old state.
    ``warn`` hears a sentence about state that cannot be used, and who holds the lock if another process is
    running the same: this one waits, and then goes on from the other's last state.
    ``clock`` counts what the run costs, on from what earlier ones did.
    """

    def __init__(
        self, root: Path, key: str, warn: Callable[[str], None], clock: WorkClock | None = None
    ) -> None:
        self.root = root
        self.directory = root / f"{PREFIX}{key}"
        self.warn = warn
        self.clock = clock or WorkClock()
        self.pending: Future[None] | None = None
        self.copying = 0.0  # seconds

    def __enter__(self) -> "StateStore":
        try:
            with ExitStack() as stack:
                with waiting():
                    stack.enter_context(working_in(self.directory, self.warn))
                remove_old(self.root)
                self.writer = stack.enter_context(ThreadPoolExecutor(max_workers=1))
                self.held = stack.pop_all()
        except OSError as error:
            raise self._unwritable(error) from None
        self.entered = time.perf_counter()
        self.clock.go_on(self._read_spent())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.close()

    def load(self, phase: str) -> Saved | None:
        """The newest whole state of ``phase``; damaged ones are set aside with a warning."""
        for path in reversed(self._states(phase)):
            if (saved := _read(path)) is not None:
                self.clock.epochs[phase] = len(saved.records)
                return saved
            path.replace(path.with_suffix(".damaged"))
            self.warn(f"{path}: damaged, set aside; going on from the state before it, if any")
        return None

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        """Write the state of ``phase`` after an epoch, which ``pack`` copies, in the background.

        Left out while an earlier write is under way, and where copying would take more than SHARE of the
        time: epochs of less than about a second do not wait for the disk. Not so after the ``last`` epoch.
        Raises UnwritableState if an earlier write failed.
        """
        begin = time.perf_counter()
        self.clock.epochs[phase] = len(records)
        if self.pending is not None:
            busy = not self.pending.done() or self.copying > SHARE * (begin - self.entered)
            if busy and not last:
                return
            self._finish_write(self.pending)
        saved = Saved(list(records), pack())
        self.copying += time.perf_counter() - begin
        self.pending = self.writer.submit(self._write, phase, saved, self.clock.spent())

    def finish(self, checkpoint: Path) -> None:
        """Wait for the last write, and mark the state as that of a checkpoint directory."""
        if self.pending is not None:
            self._finish_write(self.pending)
        try:
            self._write_spent(self.clock.spent())
            with atomic_file(self.directory / FINISHED) as partial:
                partial.write_text(mark_of(checkpoint), encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from None

    def _states(self, phase: str) -> list[Path]:
        """The oldest first."""
        return sorted(self.directory.glob(f"{phase}-*.state"))

    def _write(self, phase: str, saved: Saved, spent: Spent) -> None:
        path = self.directory / f"{phase}-{len(saved.records):06}.state"
        with atomic_file(path) as partial, partial.open("wb") as stream:
            stream.writelines(serialize(saved))
        self._write_spent(spent)
        for old in self._states(phase)[:-KEPT]:
            old.unlink()

    def _write_spent(self, spent: Spent) -> None:
        with atomic_file(self.directory / SPENT) as partial:
            partial.write_text(json.dumps(spent), encoding="utf-8")

    def _read_spent(self) -> Spent:
        """What earlier runs cost; nothing if there were none, or if the file tells nothing."""
        try:
            seconds, runs = json.loads((self.directory / SPENT).read_bytes())
            if not 0 <= float(seconds) < math.inf:
                raise ValueError(seconds)
            return Spent(float(seconds), int(runs))
        except (OSError, ValueError, TypeError, OverflowError, RecursionError):
            return Spent(0.0, 0)

    def _finish_write(self, write: Future[None]) -> None:
        try:
            write.result()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UnwritableState:
        return UnwritableState(
            f"{self.directory}: training state cannot be written ({error.strerror}); make room there"
        )


def _read(path: Path) -> Saved | None:
    """The state in a file; None if it is damaged, or cannot be read."""
    with suppress(OSError):
        return deserialize(regular(path).read_bytes())
    return None
