"""What a stage leaves, and how one result of it is told from another."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from der.core.errors import UserError
from der.core.sealed import MANIFEST
from der.pipeline.graph import OUTPUTS, read_names, read_stages
from der.pipeline.paths import GRAPH

WHOLE = 1 << 20  # bytes up to which a file is told by its content: to hash all costs more than some stages


def list_outputs(stage: str) -> list[Path]:
    """Files and directories that ``stage`` leaves, as the graph has them; raises UserError if it has none."""
    name, _, key = stage.partition("@")
    content = read_stages().get(name)
    if content is None:
        raise UserError(f"{GRAPH}: no stage {name}; restore it with `git checkout {GRAPH}`")
    named = read_names(content.get("do", content), *OUTPUTS)
    return [Path(one.replace("${key}", key)) for one in named]


def digest_outputs(stage: str) -> str:
    """``digest_files`` of what ``stage`` leaves."""
    return digest_files(list_outputs(stage))


def digest_files(outputs: Iterable[Path]) -> str:
    """SHA-256 over files and directories: manifests, which hold the digests of all files beside them.

    Of what is not sealed, names and sizes of the files, and contents of the small ones. What is missing
    counts as nothing.
    """
    digest = hashlib.sha256()
    for file in sorted(file for output in outputs for file in _telling(output)):
        size = file.stat().st_size
        digest.update(f"{file.as_posix()}\0{size}\0".encode(errors="surrogateescape"))
        if size <= WHOLE or file.name == MANIFEST:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _telling(output: Path) -> Iterator[Path]:
    """The files that tell one result from another."""
    if (output / MANIFEST).is_file():
        yield output / MANIFEST
    elif output.is_dir():
        for path in output.iterdir():
            yield from _telling(path)
    elif output.is_file():
        yield output
