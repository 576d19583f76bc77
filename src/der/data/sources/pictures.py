"""Many pictures decoded side by side into a file, and all that cannot be read named in one message."""

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from der.common.errors import UserError
from der.data.sources.class_images import Images
from der.data.sources.decoding import read_picture
from der.settings.dataset import DatasetSettings

MOST_WORKERS = 8  # each holds a whole picture in memory
MOST_NAMED = 20  # pictures in a message
WORTH_PROCESSES = 512  # pictures; for fewer, starting processes takes longer than they save
TOGETHER = 16  # pictures that a worker is given at once


class Picture(NamedTuple):
    """A picture that is to be decoded."""

    place: str  # where it is, for messages
    content: Path | bytes  # the file, or what is in it


class Fault(NamedTuple):
    """A picture that cannot be read."""

    place: str
    sentence: str


class Job(NamedTuple):
    """Pictures, and the rows of a file that they become."""

    file: Path
    rows: list[int]
    pictures: list[Picture]


# Pictures to the rows of a file that ``make_images`` made; returns those that cannot be read.
Decode = Callable[[Sequence[Picture], Path, Sequence[int]], list[Fault]]


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
    images: Images = np.load(file, mmap_mode="r", allow_pickle=False)
    return images


@contextmanager
def decoder(settings: DatasetSettings, total: int) -> Iterator[Decode]:
    """A function that decodes pictures into rows of a file, by several processes if ``total`` is worth it.

    Rows of pictures that cannot be read stay as they are. On a terminal a bar shows how many of ``total`` are
    done, and how many in a second.
    """
    with _workers(total) as pool, tqdm(total=total, unit="picture", disable=None, leave=False) as bar:

        def decode(pictures: Sequence[Picture], file: Path, rows: Sequence[int]) -> list[Fault]:
            starts = range(0, len(pictures), TOGETHER)
            parts = [slice(start, start + TOGETHER) for start in starts]
            jobs = [Job(file, [*rows[part]], [*pictures[part]]) for part in parts]
            faults = []
            for job, found in zip(jobs, pool.map(partial(work, settings), jobs), strict=True):
                faults += found
                bar.update(len(job.pictures))
            return faults

        yield decode


@contextmanager
def _workers(total: int) -> Iterator[Executor]:
    count = min(os.cpu_count() or 1, MOST_WORKERS)
    # Two threads that open pictures while Pillow still loads its formats can miss one.
    Image.init()
    if total < WORTH_PROCESSES or count == 1:
        with ThreadPoolExecutor(count) as threads:
            yield threads
        return
    with ProcessPoolExecutor(count, get_context("spawn"), _end_with_parent) as processes:
        yield processes


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
    images: NDArray[np.uint8] = np.load(job.file, mmap_mode="r+", allow_pickle=False)
    faults = []
    for row, (place, content) in zip(job.rows, job.pictures, strict=True):
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            images[row] = read_picture(file, place, settings.side, settings.channels)
        except UserError as error:
            faults.append(Fault(place, str(error)))
    return faults


def describe(faults: Sequence[Fault]) -> str:
    """One sentence about all pictures that cannot be read."""
    if len(faults) == 1:
        return faults[0].sentence
    names = ", ".join(fault.place for fault in faults[:MOST_NAMED])
    more = f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    return f"{len(faults)} pictures cannot be read or are too large; repair or remove them: {names}{more}"
