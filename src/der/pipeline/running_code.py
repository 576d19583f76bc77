"""The code that a stage runs, held to the fingerprint that stage check has written for it."""

import hashlib
import importlib
import sys
from pathlib import Path

from der.core.errors import DamageError, UserError
from der.core.registry import imported_own
from der.pipeline.fingerprint import Hashes, hash_module, hash_modules
from der.pipeline.kept_code import recall
from der.pipeline.paths import fingerprint

ALL = "all"  # in place of a module's name


class RunningCode:
    """The code of ``stage`` as it is on disk; raises UserError unless it is what the fingerprint says.

    To be made when the script has been imported. Modules that it imports later are looked at by ``confirm``.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        path = fingerprint(stage)
        if not path.is_file():
            raise UserError(f"{path}: missing; run `dvc repro`, without --single-item")
        said = path.read_text(encoding="utf-8", errors="replace")
        recall()
        self.hashes = hash_modules(f"stages.{stage}", own=_names(said))
        self.text = describe(self.hashes)
        self.confirmed = self._loaded()
        self.earlier = frozenset(imported_own)
        if said != self.text:
            check_fingerprint(path)
            raise self._changed()

    def load(self, device: str) -> None:
        """Import all of the library that the stage's code has, lest it be edited before it is needed.

        Kernels of ``device`` "cuda" are left out on others, which may lack what they need. Then ``confirm``.
        """
        for name in self.hashes:
            if name.partition(".")[0] != "stages" and (
                device == "cuda" or not name.startswith("der.model.kernels.")
            ):
                importlib.import_module(name)
        self.confirm()

    def confirm(self) -> None:
        """Raise UserError if a module that was imported since the last call had been edited before.

        A stage calls it after its imports, and before it writes results: what is edited while it runs
        neither stops it nor comes into its results.
        """
        if not imported_own - self.earlier <= self.hashes.keys():  # params.yaml names others than check read
            raise self._changed()
        loaded = self._loaded()
        for name in loaded - self.confirmed:
            if hash_module(name) != self.hashes[name]:
                raise self._changed()
        self.confirmed = loaded

    def _loaded(self) -> set[str]:
        """The modules of its code that this process has imported."""
        return sys.modules.keys() & self.hashes.keys()

    def _changed(self) -> UserError:
        return UserError(
            f"{self.stage}: its code has been edited since stage check read it; run `dvc repro`, without "
            "--single-item"
        )


def describe(hashes: Hashes) -> str:
    """A fingerprint as text: a line for every module, and the SHA-256 of all these."""
    text = "".join(f"{digest} {name}\n" for name, digest in hashes.items())
    return text + _seal_of(text.encode())


def _names(text: str) -> list[str]:
    """The modules that a fingerprint names."""
    lines = [line.partition(" ") for line in text.splitlines()]
    return [name for _, _, name in lines if name and name != ALL]


def check_fingerprint(path: Path) -> None:
    """Raise DamageError if a file of data/fingerprints is not as it was written, for whatever code."""
    *lines, seal = path.read_bytes().splitlines(keepends=True) or [b""]
    if seal != _seal_of(b"".join(lines)).encode():
        raise DamageError(f"{path}: damaged, its bytes are not those that were written")


def _seal_of(text: bytes) -> str:
    return f"{hashlib.sha256(text).hexdigest()} {ALL}\n"
