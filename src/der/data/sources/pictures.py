"""Many pictures decoded side by side into a file, and all that cannot be read named in one message."""

import io
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from der.core.errors import UserError
from der.data.sources.class_images import Images
from der.data.sources.decoding import UnreadForm, read_picture
from der.data.sources.room import ROOM, Taken, taken_by_processes
from der.settings.sections import DatasetSettings

MOST_WORKERS = 8  # each holds a whole picture in memory
MOST_NAMED = 20  # pictures in a message
WORTH_PROCESSES = 512  # pictures; for fewer, starting processes takes longer than they save
TOGETHER = 8  # pictures that a worker is given at once
HEADERS = threading.Lock()  # of .npy files: Python 3.11 fails, now and then, where two threads parse one
AHEAD = 2  # times as often as there are workers, such a number is given out before the first is done


class Picture(NamedTuple):
    """A picture that is to be decoded."""

    place: str  # where it is, for messages
    content: Path | bytes  # the file, or what is in it


class Fault(NamedTuple):
    """A picture that cannot be read."""

    place: str
    sentence: str
    is_unread_form: bool  # and may be whole


class Job(NamedTuple):
    """Pictures, and the rows that they become of a file that ``make_images`` made."""

    file: Path
    rows: Sequence[int]
    pictures: Sequence[Picture]


def make_images(file: Path, count: int, settings: DatasetSettings) -> None:
    """Make a .npy file of ``count`` images, uint8 (count, side, side, channels), all black.

    Raises OSError where the disk has no room for it.
    """
    shape = (count, settings.side, settings.side, settings.channels)
    np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        _reserve(file)


def _reserve(file: Path) -> None:
    """Take the disk's room for a file of holes: filling one through a map, a full disk kills the process."""
    with file.open("r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(file)) from None


def map_images(file: Path) -> Images:
    """The images in a file, as a read-only memory map."""
    return _map(file, "r")


def _map(file: Path, mode: Literal["r", "r+"]) -> Images:
    with HEADERS:
        images: Images = np.load(file, mmap_mode=mode, allow_pickle=False)
    return images


def decode(
    settings: DatasetSettings, total: int, jobs: Iterable[Job]
) -> Generator[tuple[Path, list[Fault]], None, None]:
    """Decode ``total`` pictures; yield the file of each job in turn, and those that cannot be read.

    Several processes do it if ``total`` is worth it. Jobs, of one picture at least, are taken as the workers
    get to them, whichever file is theirs. Rows of pictures that cannot be read stay as they are. On a
    terminal a bar shows how many are done, and how many in a second.
    """
    count = min(os.cpu_count() or 1, MOST_WORKERS)
    faults: list[Fault] = []
    parts = (part for job in jobs for part in _divide(job))
    with _workers(count, total) as pool, tqdm(total=total, unit="picture", disable=None, leave=False) as bar:
        try:
            for (job, is_last), found in _do_ahead(pool, settings, parts, AHEAD * count):
                faults += found
                bar.update(len(job.pictures))
                if is_last:
                    yield job.file, faults
                    faults = []
        except BrokenProcessPool:
            raise UserError(
                f"{settings.path}: a process that decoded its pictures was killed, as systems do where "
                "memory runs out; free some and try again"
            ) from None


def _divide(job: Job) -> Iterator[tuple[Job, bool]]:
    """A job in parts for a worker at a time, and whether each is the last."""
    for start in range(0, len(job.pictures), TOGETHER):
        end = start + TOGETHER
        yield Job(job.file, job.rows[start:end], job.pictures[start:end]), end >= len(job.pictures)


def _do_ahead(
    pool: Executor, settings: DatasetSettings, parts: Iterable[tuple[Job, bool]], ahead: int
) -> Iterator[tuple[tuple[Job, bool], list[Fault]]]:
    """Yield parts with what ``work`` returns, in turn; ``ahead`` of them at most are taken before that."""
    waiting: deque[tuple[tuple[Job, bool], Future[list[Fault]]]] = deque()
    try:
        for part in parts:
            waiting.append((part, pool.submit(work, settings, part[0])))
            if len(waiting) == ahead:
                first, done = waiting.popleft()
                yield first, done.result()
        for first, done in waiting:
            yield first, done.result()
    finally:
        for _, done in waiting:
            done.cancel()


@contextmanager
def _workers(count: int, total: int) -> Iterator[Executor]:
    # Two threads that open pictures while Pillow still loads its formats can miss one.
    Image.init()
    if total < WORTH_PROCESSES or count == 1:
        with ThreadPoolExecutor(count) as threads:
            yield threads
        return
    context = get_context("spawn")
    taken = taken_by_processes(context)
    with ProcessPoolExecutor(count, context, initializer=_start, initargs=(taken,)) as processes:
        yield processes


def _start(taken: Taken) -> None:
    ROOM.share(taken)
    _end_with_parent()


def _end_with_parent() -> None:
    """Have this process end when the one that started it has, however that ended."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def work(settings: DatasetSettings, job: Job) -> list[Fault]:
    """Decode the pictures of a job into its rows; returns those that cannot be read."""
    images, faults = _map(job.file, "r+"), []
    for row, (place, content) in zip(job.rows, job.pictures, strict=True):
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            images[row] = read_picture(file, place, settings.side, settings.channels)
        except UserError as error:
            faults.append(Fault(place, str(error), isinstance(error, UnreadForm)))
    return faults


def describe(faults: Sequence[Fault]) -> str:
    """One sentence about all pictures that cannot be read, those first that have to be converted."""
    unread = [fault for fault in faults if fault.is_unread_form]
    others = [fault for fault in faults if not fault.is_unread_form]
    kinds = (
        (unread, "are of a form that Pillow does not read; convert them to JPEG"),
        (others, "cannot be read or are too large; repair or remove them"),
    )
    return "; and ".join(_describe(found, advice) for found, advice in kinds if found)


def _describe(faults: Sequence[Fault], advice: str) -> str:
    if len(faults) == 1:
        return faults[0].sentence
    names = ", ".join(fault.place for fault in faults[:MOST_NAMED])
    more = f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    return f"{len(faults)} pictures {advice}: {names}{more}"
