"""Links, kinds and places of files."""

import errno
import os
import shutil
import stat
from pathlib import Path

from der.core.errors import UserError


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def expand_home(path: str) -> Path:
    """The path that ``path`` names, "~" being the user's home directory; UserError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no such home directory; write the whole path") from None


def regular(path: Path) -> Path:
    """``path``, for opening; OSError unless it is a file: a pipe would be waited for, a device never ends."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no file", str(path))
    return path


def existing(path: Path) -> Path:
    """``path``, or the nearest folder around it that is there: they are on one disk."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def from_here(path: Path) -> Path:
    """``path`` from the current directory, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
