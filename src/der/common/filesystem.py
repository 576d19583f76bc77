"""Links and sizes of files."""

import os
import shutil
from pathlib import Path


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def directory_bytes(path: Path) -> int:
    """Bytes of all files in a directory and below."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
