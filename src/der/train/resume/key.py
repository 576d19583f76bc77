"""Under which key train_task keeps its state."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch

import der
from der.common.device import name_arithmetic
from der.project import paths
from der.settings.network import NetworkSettings
from der.settings.section import to_values
from der.settings.training import TrainSettings

# What training runs of the library: train_task's deps in dvc.yaml; a test holds it to them.
CODE = (
    "__init__.py",
    "common",
    "data/__init__.py",
    "data/class_arrays.py",
    "device.py",
    "inference.py",
    "locks.py",
    "memory/exemplars.py",
    "model",
    "precision.py",
    "randomness.py",
    "train",
)


def scratch_key(step: int, network: NetworkSettings, train: TrainSettings, device: torch.device) -> str:
    """A hash of all that the training of ``step`` depends on: parameters, inputs, code and machine."""
    settings = [step, to_values(network), to_values(train.recipe(step))]
    digest = hashlib.sha256(json.dumps([settings, name_arithmetic(device)]).encode())
    inputs = (
        paths.task(step) / "train",
        paths.task(step) / "classes.json",
        paths.checkpoint(step - 1),
        paths.memory(step - 1),
    )
    for path in [*_files(inputs), *_code()]:
        digest.update(str(path.name).encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _files(inputs: Iterable[Path]) -> list[Path]:
    return [
        path
        for entry in inputs
        for path in (sorted(entry.rglob("*")) if entry.is_dir() else [entry])
        if path.is_file()
    ]


def _code() -> list[Path]:
    library = Path(der.__file__).parent
    return [
        path
        for entry in CODE
        for path in (sorted((library / entry).glob("*.py")) or [library / entry])
        if path.is_file()
    ]
