"""Under which key training state is kept."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path


def state_key(settings: object, inputs: Iterable[Path], fingerprint: str, arithmetic: list[str]) -> str:
    """A hash of all that a training depends on, fit for the name of a directory.

    ``settings`` are what JSON can hold; ``inputs`` files and directories, of which names below them and
    bytes count, not the place; ``fingerprint`` is that of the code; ``arithmetic`` decides on the bits of
    sums, der.common.device.name_arithmetic.
    """
    digest = hashlib.sha256(json.dumps([settings, fingerprint, arithmetic]).encode())
    for number, entry in enumerate(inputs):
        for path in _files(entry):
            digest.update(f"{number} {path.relative_to(entry)}".encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _files(entry: Path) -> Iterator[Path]:
    """``entry`` itself if it is a file, else all files in it and below."""
    return filter(Path.is_file, sorted(entry.rglob("*")) if entry.is_dir() else [entry])
