"""Archives of images, unpacked without trusting anything they say."""

import errno
import lzma
import posixpath
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from der.core.errors import UserError
from der.core.files import existing
from der.data.sources.tree import Entry, Parts, is_ignored

DAMAGE = (
    *(OSError, EOFError, NotImplementedError, ValueError, struct.error, zlib.error, lzma.LZMAError),
    *(tarfile.TarError, zipfile.BadZipFile),
)
FULL = (errno.ENOSPC, errno.EDQUOT)
UTF8_NAME = 0x800  # zip flag: the member's name is UTF-8
ENCRYPTED = 0x1  # zip flag
# How a .tar begins that gzip, bzip2, xz in either form, or zstd has packed.
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"]\0\0", b"(\xb5/\xfd")
LONGEST_NAME = 2**16  # bytes of a member's or link's name; no file system takes as many
LARGEST_RATIO = 500  # bytes unpacked for one packed: pictures stay far below, deflate ends at 1,032


class Member(NamedTuple):
    """One member of an archive: a file has content, a link leads to another name, a folder has neither."""

    name: str
    content: Callable[[], IO[bytes] | None] | None = None
    size: int = 0  # bytes of the content
    link: str | None = None


class Contents(NamedTuple):
    """What an archive unpacks to."""

    entries: list[Entry]  # in place of each file, the archive
    size: int  # bytes of all files


def unpack(archive: Path, scratch: Path) -> list[Entry]:
    """Unpack a .zip or .tar file into the empty directory ``scratch``.

    Files get numbers for names: no member can choose where it is written, and names that the file system
    would confuse stay apart. Hidden folders are left out, links followed to a file of the archive. Raises
    UserError before anything is written for an archive that unpacks to far more than its size, or than there
    is room for, and naming the member for one that would leave its folder, stands twice, is encrypted, or
    is neither file nor folder nor such a link; for a damaged archive and a full disk, too.
    """
    check_room(archive, survey(archive).size, scratch)
    files: dict[Parts, Path] = {}
    folders: set[Parts] = set()
    links: dict[Parts, Parts] = {}
    with _readable(archive):
        for count, (parts, member) in enumerate(_wanted(archive)):
            if member.link is not None:
                links[parts] = _parts(archive, member.name, member.link)
            elif member.content is not None:
                files[parts] = scratch / str(count)
                _copy(archive, member.content, files[parts])
            else:
                folders.add(parts)
    for parts, target in links.items():
        files[parts] = files[target]
    return [Entry(parts, None) for parts in folders] + [Entry(parts, file) for parts, file in files.items()]


def tells_members(archive: Path) -> bool:
    """Whether what is in an archive can be told in moments: a compressed .tar has to be unpacked for that."""
    with archive.open("rb") as stream:
        return _is_zip(archive) or not stream.read(max(map(len, COMPRESSED))).startswith(COMPRESSED)


def survey(archive: Path) -> Contents:
    """What :func:`unpack` would give, without unpacking; a compressed .tar has to be read whole for that.

    Raises UserError as it does before it writes anything, but for the room that is needed.
    """
    most = LARGEST_RATIO * archive.stat().st_size
    size = 0
    entries: list[Entry] = []
    names: set[Parts] = set()  # of files, and links to them
    links: dict[Parts, Parts] = {}
    with _readable(archive):
        for parts, member in _wanted(archive):
            if member.content is None and member.link is None:
                entries.append(Entry(parts, None))
                continue
            if parts in names:
                raise UserError(f"{archive}: holds the member {member.name!r} twice; remove or rename one")
            if member.link is not None:
                links[parts] = _parts(archive, member.name, member.link)
            names.add(parts)
            entries.append(Entry(parts, archive))
            size += member.size
            if size > most:
                raise UserError(
                    f"{archive}: unpacks to over {LARGEST_RATIO} times its size, as pictures do not; unpack "
                    "it yourself if you trust it"
                )
    _check_links(archive, links, names.difference(links))
    return Contents(entries, size)


def check_room(archive: Path, size: int, scratch: Path) -> None:
    """Raise UserError unless the disk on which ``scratch`` is, or would be, has ``size`` bytes for files."""
    free = shutil.disk_usage(existing(scratch)).free
    if size > free:
        raise UserError(f"{scratch}: {free:,} bytes are free, too few for {archive}; make room")


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Damage as UserError."""
    try:
        yield
    except UserError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())  # tarfile's has a line for every compression it tried
        raise UserError(f"{archive}: cannot be unpacked ({reason}); check that it is whole") from None


def _is_zip(archive: Path) -> bool:
    return archive.name.lower().endswith(".zip")


def _wanted(archive: Path) -> Iterator[tuple[Parts, Member]]:
    """Members by the parts of their names, without hidden folders and what lies in them."""
    for member in _zip_members(archive) if _is_zip(archive) else _tar_members(archive):
        parts = _parts(archive, member.name, member.name)
        if not any(is_ignored(part) for part in (parts if member.content is None else parts[:-1])):
            yield parts, member


def _check_links(archive: Path, links: dict[Parts, Parts], files: set[Parts]) -> None:
    """Raise UserError for a link to what is neither a file of the archive nor a link before it."""
    for parts, target in links.items():
        if target not in files:
            raise UserError(
                f"{archive}/{'/'.join(parts)}: a link to {'/'.join(target)}, which is no file of the "
                "archive; pack the file itself"
            )
        files.add(parts)


def _copy(archive: Path, content: Callable[[], IO[bytes] | None], file: Path) -> None:
    source = content()
    assert source is not None, file
    try:
        with source, file.open("wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(f"{file.parent}: the disk is full; make room to unpack {archive}") from None


def _parts(archive: Path, member: str, path: str) -> Parts:
    """The parts of a member's name or link; UserError if it is absolute or climbs."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts:
        raise UserError(f"{archive}: the member {member!r} would leave the archive's folder; remove it")
    return parts


def _linked(name: str, link: str) -> str:
    """What a symbolic link, relative to the folder of the member ``name``, leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            name = info.filename if info.flag_bits & UTF8_NAME else _old_zip_name(info.filename)
            name = name.replace("\\", "/")  # some Windows programs write those
            if info.flag_bits & ENCRYPTED:
                raise UserError(f"{archive}: the member {name!r} is encrypted; pack it without a password")
            if name.endswith("/"):
                yield Member(name)
            elif stat.S_ISLNK(info.external_attr >> 16):
                if (size := info.file_size) > LONGEST_NAME:
                    raise UserError(
                        f"{archive}: the member {name!r} is a link to a name of {size} bytes; remove it"
                    )
                yield Member(name, link=_linked(name, opened.read(info).decode()))
            else:
                yield Member(name, content=partial(opened.open, info), size=info.file_size)


def _old_zip_name(name: str) -> str:
    """macOS writes UTF-8 without the flag that says so; Python then reads it as code page 437."""
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name


class _Header(tarfile.TarInfo):
    """tarfile's, which reads into memory what a member's name claims to be, however long.

    And to which a member may be smaller than nothing, so that the one before is read again, without end.
    """

    def _proc_member(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        found: tarfile.TarInfo = super()._proc_member(opened)  # type: ignore[misc]
        if found.size < 0:
            raise tarfile.ReadError(f"a member of {found.size} bytes")
        return found

    def _proc_gnulong(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        self._check_size()
        return super()._proc_gnulong(opened)  # type: ignore[misc, no-any-return]

    def _proc_pax(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        self._check_size()
        return super()._proc_pax(opened)  # type: ignore[misc, no-any-return]

    def _check_size(self) -> None:
        if self.size > LONGEST_NAME:
            raise tarfile.ReadError(f"a name or header of {self.size} bytes")


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, tarinfo=_Header) as opened:
        for info in opened:
            if info.isfile():
                yield Member(info.name, content=partial(opened.extractfile, info), size=info.size)
            elif info.isdir():
                yield Member(info.name)
            elif info.islnk():
                yield Member(info.name, link=info.linkname)
            elif info.issym():
                yield Member(info.name, link=_linked(info.name, info.linkname))
            else:
                raise UserError(f"{archive}: the member {info.name!r} is a device; remove it")
        _check_end(opened)


def _check_end(opened: tarfile.TarFile) -> None:
    """tarfile takes a damaged or missing header for the end, and stops short of the last checksum."""
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends too early")
    while chunk := opened.fileobj.read(2**20):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError("something follows its end")
