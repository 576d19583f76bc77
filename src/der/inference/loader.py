"""Pictures named on a command line, decoded in parallel a chunk at a time."""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.core.errors import UserError
from der.data.sources.pictures import MOST_WORKERS, is_ignored, is_no_picture, read_picture


class Chunk(NamedTuple):
    """Pictures read together."""

    files: list[Path]  # that could be read
    images: NDArray[np.uint8]  # (n, side, side, channels), one for each of ``files``
    faults: list[str]  # a sentence for everything else


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files among ``paths`` and in the directories among them, at any depth, each in order of names.

    Links are followed, but a directory is searched once. What is hidden or no picture by its name is passed
    over in directories, as in a folder of training images. What is found but cannot be read, a link to
    nothing or a directory of someone else's, is listed too: ``read_chunks`` says what is wrong with it.
    Raises UserError for a path that does not exist and for a directory without any picture.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = list(_scan(path, set()))
            if not inside:
                raise UserError(f"{path}: there is no picture in this directory")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise UserError(f"{path}: there is no such file or directory")
    return files


def _scan(directory: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield what ``list_pictures`` lists; ``visited`` has device and number of each directory searched."""
    try:
        status = directory.stat()
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        yield directory
        return
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    for name in names:
        path = directory / name
        if os.path.isdir(path):  # unlike the path's own method, False where it cannot be told
            if not is_ignored(name):
                yield from _scan(path, visited)
        elif not is_no_picture(name):
            yield path


def read_chunks(files: Sequence[Path], side: int, channels: int, chunk: int) -> Iterator[Chunk]:
    """Yield all ``files``, ``chunk`` at a time, brought to ``side`` pixels and ``channels``."""
    # Two threads that open pictures while Pillow still loads its formats can miss one.
    Image.init()
    read = partial(_read, side=side, channels=channels)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_WORKERS)) as pool:
        for start in range(0, len(files), chunk):
            part = files[start : start + chunk]
            results = list(pool.map(read, part))
            good = [(file, one) for file, one in zip(part, results, strict=True) if not isinstance(one, str)]
            images = np.array([image for _, image in good], np.uint8).reshape(-1, side, side, channels)
            yield Chunk([file for file, _ in good], images, [one for one in results if isinstance(one, str)])


def _read(file: Path, side: int, channels: int) -> NDArray[np.uint8] | str:
    try:
        # Before it is opened: opening a pipe waits for someone to write.
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            return f"{file}: this folder cannot be listed; allow it"
        if not stat.S_ISREG(mode):
            return f"{file}: neither file nor folder; remove it"
        return read_picture(file, str(file), side, channels)
    except OSError as error:
        return f"{file}: cannot be reached; repair or remove it ({error.strerror})"
    except UserError as error:
        return str(error)
