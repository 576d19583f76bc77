"""Pictures named on a command line, decoded in parallel a chunk at a time."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.sources.pictures import Fault, Picture, decode, is_ignored, is_no_picture


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
    with closing(decode((Picture(str(file), file) for file in files), side, channels)) as decoded:
        for start in range(0, len(files), chunk):
            part = files[start : start + chunk]
            results = list(zip(part, islice(decoded, len(part)), strict=True))
            good = [(file, one) for file, one in results if not isinstance(one, Fault)]
            images = np.array([one for _, one in good], np.uint8).reshape(-1, side, side, channels)
            faults = [one.sentence for _, one in results if isinstance(one, Fault)]
            yield Chunk([file for file, _ in good], images, faults)
