"""Tiny image trees, and archives of them, for tests."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from der.data.sources import Images
from der.settings.sections import DatasetSettings

SIDE = 8  # pixels, of every picture made here
Contents = dict[str, bytes | None]  # path inside the tree -> bytes of the file; None makes a folder


def settings_for(path: Path | str, **changes: Any) -> DatasetSettings:
    """Settings of the folder source whose images are kept as they are."""
    values: dict[str, Any] = {
        "source": "folder",
        "path": str(path),
        "downloads": "unused",
        "image_side": SIDE,
        "channels": 3,
        "test_fraction": 0.25,
        "seed": 0,
    }
    return DatasetSettings(**(values | changes))


def pixels_of(path: str) -> Images:
    """The picture that belongs at a path, uint8 (SIDE, SIDE, 3): noise that no other path has."""
    return np.random.RandomState([0, *path.encode()]).randint(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def png(path: str) -> bytes:
    """``pixels_of`` a path as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels_of(path)).save(stream, "PNG")
    return stream.getvalue()


def tree_of(**counts: dict[str, int]) -> Contents:
    """A tree from the number of pictures per split and class, tree_of(train={"cat": 3})."""
    paths = [
        f"{split}/{name}/{index}.png"
        for split, classes in counts.items()
        for name, count in classes.items()
        for index in range(count)
    ]
    return {path: png(path) for path in paths}


def expected(split: str, name: str, count: int) -> Images:
    """The array that ``tree_of`` should come out as."""
    return np.stack([pixels_of(f"{split}/{name}/{index}.png") for index in range(count)])


def write_tree(root: Path, contents: Contents) -> Path:
    """Write a tree as a directory."""
    for path, content in contents.items():
        file = root / path
        if content is None:
            file.mkdir(parents=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return root


def write_zip(archive: Path, contents: Contents) -> Path:
    """Write a tree as a .zip file."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path, content in contents.items():
            opened.writestr(path if content is not None else path + "/", content or b"")
    return archive


def write_tar(archive: Path, contents: Contents, members: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """Write a tree as a .tar file, compressed as its name says, then ``members`` without content."""
    compression = archive.suffix[1:].replace("tgz", "gz").replace("tar", "")
    with tarfile.open(archive, f"w:{compression}") as opened:  # type: ignore[call-overload]
        for path, content in contents.items():
            member = tarfile.TarInfo(path)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            opened.addfile(member, io.BytesIO(content or b""))
        for member in members:
            opened.addfile(member)
    return archive


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A member of a .tar file that is a link."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member
