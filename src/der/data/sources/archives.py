"""Lists and unpacks archives of images."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from der.core.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
LARGEST_RATIO = 500  # unpacked bytes per packed byte: pictures stay far below, deflate reaches 1,032
DAMAGE = (
    *(OSError, EOFError, RuntimeError, LookupError, ValueError, struct.error, zlib.error, lzma.LZMAError),
    *(tarfile.TarError, zipfile.BadZipFile),
)


class Entry(NamedTuple):
    """A file or folder of a tree."""

    parts: tuple[str, ...]  # of its path below the root
    file: Path | None  # where the content can be read; None for a folder


def check_archive(path: Path) -> None:
    """Raise UserError for a file whose name is no archive's name."""
    if not path.is_file() or not path.name.lower().endswith(ARCHIVES):
        raise UserError(f"{path}: neither a directory nor a {', '.join(ARCHIVES)} file; edit dataset.path")


def lists_members(archive: Path) -> bool:
    """Tell whether an archive can be listed quickly; a compressed .tar must be read completely for that."""
    return archive.name.lower().endswith((".zip", ".tar"))


def survey(archive: Path) -> list[Entry]:
    """List an archive's entries, the archive in place of each file; raises UserError for damage and traps."""
    status = archive.stat()
    return _survey(archive, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)  # seconds for 100,000 members, and asked for several times
def _survey(archive: Path, packed: int, _moment: int) -> list[Entry]:
    entries: list[Entry] = []
    files: set[tuple[str, ...]] = set()
    total = 0
    with _readable(archive):
        for name, is_folder, size in _members(archive):
            parts = tuple(part for part in name.split("/") if part not in ("", "."))
            if name.startswith("/") or ".." in parts:
                raise UserError(f"{archive}: the member {name!r} would leave the archive's folder; remove it")
            if parts in files:
                raise UserError(f"{archive}: holds the member {name!r} twice; remove or rename one")
            entries.append(Entry(parts, None if is_folder else archive))
            if not is_folder:
                files.add(parts)
            total += size
            if total > LARGEST_RATIO * packed:
                advice = "as pictures do not; unpack it yourself if you trust it"
                raise UserError(f"{archive}: unpacks to over {LARGEST_RATIO} times its size, {advice}")
    return entries


def unpack(archive: Path, scratch: Path) -> list[Entry]:
    """Unpack an archive into the directory ``scratch``; return what it held."""
    entries = survey(archive)
    with _readable(archive):
        if _is_zip(archive):
            with _open_zip(archive) as zipped:
                for info in zipped.infolist():
                    zipped.extract(info, scratch)
        else:
            with tarfile.open(archive) as tarred:
                tarred.extractall(scratch, filter="data")
    return [Entry(parts, file and scratch.joinpath(*parts)) for parts, file in entries]


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turn every error of reading an archive into a UserError."""
    try:
        yield
    except UserError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())  # tarfile's has a line for every compression it tried
        raise UserError(f"{archive}: cannot be unpacked ({reason}); get it or pack it again") from None


def _is_zip(archive: Path) -> bool:
    return archive.name.lower().endswith(".zip")


def _open_zip(archive: Path) -> zipfile.ZipFile:
    """Open a .zip file; read names without a known encoding as UTF-8 if possible, as macOS writes them."""
    try:
        opened = zipfile.ZipFile(archive, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        opened = zipfile.ZipFile(archive)
    for info in opened.infolist():
        info.filename = info.filename.replace("\\", "/")  # some Windows programs write those
    return opened


def _members(archive: Path) -> Iterator[tuple[str, bool, int]]:
    """Yield each member's name, whether it is a folder, and its size in bytes."""
    if _is_zip(archive):
        with _open_zip(archive) as zipped:
            yield from ((one.filename, one.is_dir(), one.file_size) for one in zipped.infolist())
        return
    with tarfile.open(archive) as tarred:
        yield from ((one.name, one.isdir(), one.size) for one in tarred)
        # tarfile takes a damaged header for the end, and stops short of the last checksum.
        assert tarred.fileobj is not None
        tarred.fileobj.seek(tarred.offset)
        if tarred.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends too early")
        while tarred.fileobj.read(2**20):
            pass
