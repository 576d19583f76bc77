"""The code that a stage runs, held to the fingerprint that stage check has written for it."""

import hashlib
import importlib
import sys
from pathlib import Path

from der.common.atomic import atomic_directory
from der.common.errors import DamageError, UserError
from der.project.fingerprint import PACKAGES, Hashes, hash_module, hash_modules
from der.project.paths import FINGERPRINTS, fingerprint

ALL = "all"  # in place of a module's name


class RunningCode:
    """The code of ``stage`` as it is on disk; raises UserError unless it is what the fingerprint says.

    To be made when the script has been imported. Modules that it imports later are looked at by ``confirm``.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.hashes = hash_modules(f"stages.{stage}")
        self.text = describe(self.hashes)
        self.confirmed = _loaded()
        path = fingerprint(stage)
        if not path.is_file():
            raise UserError(f"{path}: missing; run `dvc repro`, without --single-item")
        if path.read_text(encoding="utf-8", errors="replace") != self.text:
            check_fingerprint(path)
            raise self._changed()

    def load(self, device: str) -> None:
        """Import all of the library that the stage's code has, lest it be edited before it is needed.

        Kernels of ``device`` "cuda" are left out on others, which may lack what they need. Then ``confirm``.
        """
        for name in self.hashes:
            if name.startswith("der.") and (device == "cuda" or not name.startswith("der.model.kernels.")):
                importlib.import_module(name)
        self.confirm()

    def confirm(self) -> None:
        """Raise UserError if a module that was imported since the last call had been edited before.

        A stage calls it after its imports, and before it writes results: what is edited while it runs
        neither stops it nor comes into its results.
        """
        loaded = _loaded()
        for name in (loaded - self.confirmed) & self.hashes.keys():
            if hash_module(name) != self.hashes[name]:
                raise self._changed()
        self.confirmed = loaded

    def _changed(self) -> UserError:
        return UserError(
            f"{self.stage}: its code has been edited since stage check read it; run `dvc repro`, without "
            "--single-item"
        )


def _loaded() -> set[str]:
    """The modules of ours that this process has imported."""
    return {name for name in list(sys.modules) if name.partition(".")[0] in PACKAGES}


def describe(hashes: Hashes) -> str:
    """A fingerprint as text: a line for every module, and the SHA-256 of all these."""
    text = "".join(f"{digest} {name}\n" for name, digest in hashes.items())
    return text + _seal_of(text.encode())


def check_fingerprint(path: Path) -> None:
    """Raise DamageError if a file of data/fingerprints is not as it was written, for whatever code."""
    *lines, seal = path.read_bytes().splitlines(keepends=True) or [b""]
    if seal != _seal_of(b"".join(lines)).encode():
        raise DamageError(f"{path}: damaged, its bytes are not those that were written")


def _seal_of(text: bytes) -> str:
    return f"{hashlib.sha256(text).hexdigest()} {ALL}\n"


def read_code(stages: list[str]) -> dict[str, str]:
    """The fingerprints of ``stages``; raises UserError naming a module that cannot be parsed."""
    return {stage: describe(hash_modules(f"stages.{stage}")) for stage in stages}


def write_fingerprints(texts: dict[str, str]) -> list[str]:
    """Write the fingerprints of stages, as of ``read_code``, if any is new; returns those with a new one.

    Raises UserError if code was edited since.
    """
    old = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in FINGERPRINTS.glob("*")}
    if texts != old:
        with atomic_directory(FINGERPRINTS) as directory:
            for stage, text in texts.items():
                (directory / stage).write_text(text, encoding="utf-8")
    if read_code([*texts]) != texts:
        raise UserError("src: edited while stage check read it; run `dvc repro` again")
    return [stage for stage, text in texts.items() if old.get(stage) != text]
