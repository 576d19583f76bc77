"""Whether a file is one of weights, as far as its head and its list of contents tell: without torch."""

import struct
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from der.core.errors import UserError

SAFETENSORS = ".safetensors"
ARCHIVE = b"PK\x03\x04"  # how a file of torch.save begins
BEFORE_ARCHIVES = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # in the head of those of before PyTorch 1.6
HEAD = 32  # bytes
DAMAGE = (OSError, ValueError, NotImplementedError, struct.error, zipfile.BadZipFile, SafetensorError)


def is_safetensors(path: Path) -> bool:
    """Whether a file's name says that it is of safetensors; all others are of torch.save."""
    return path.name.lower().endswith(SAFETENSORS)


def check_head(path: Path, where: str) -> None:
    """Raise UserError, ``where`` first, for a file that cannot be one of weights."""
    try:
        if is_safetensors(path):
            with safe_open(path, framework="np"):
                return
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        if not head.startswith(ARCHIVE) and BEFORE_ARCHIVES not in head:
            raise ValueError("it does not begin as what torch.save writes")
        if head.startswith(ARCHIVE) and not _has_pickle(path):
            raise ValueError("an archive, but not of torch.save")
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{where}: cannot be read as weights ({reason}); give another file") from None


def _has_pickle(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())
