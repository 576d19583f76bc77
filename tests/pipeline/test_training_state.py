"""The training state of a user: all that its key depends on, and where it lies."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from msgspec import structs

from der.core.errors import UserError
from der.core.sealed import seal
from der.model.kernels.processor import Compiled, Kernels
from der.pipeline.environment import scratch_root
from der.pipeline.training_state import TrainingKey, training_key, training_state
from der.settings.network import NetworkSettings
from der.settings.training import (
    AugmentationSettings,
    ClassifierSettings,
    IncrementalSettings,
    MaskSettings,
    PhaseSettings,
)
from tests.builders import (
    CPU,
    NETWORK,
    augmentation_settings,
    classifier_settings,
    incremental_settings,
    mask_settings,
    phase_settings,
    train_settings,
)

CODE = "0123 der\n"  # a fingerprint
TRAIN = train_settings(
    base=phase_settings(epochs=4, warmup_epochs=2),
    incremental=incremental_settings(
        epochs=4, warmup_epochs=2, classifier=classifier_settings(epochs=4, warmup_epochs=2)
    ),
)
Inputs = dict[str, bytes]
INPUTS: Inputs = {
    "tasks/2/train/ant.npy": b"ant",
    "tasks/2/train/bee.npy": b"bee",
    "tasks/2/train/classes.json": b"{}",
    "checkpoints/1/network.json": b"{}",
    "checkpoints/1/head.safetensors": b"head",
    "memory/1/images.npy": b"images",
}


def write_inputs(root: Path, inputs: Inputs = INPUTS) -> None:
    for name, content in inputs.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        seal(path.parent, {})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the inputs of step 2, in which the stage runs."""
    root = tmp_path / "repository"
    write_inputs(root)
    monkeypatch.chdir(root)
    return root


def key(step: int = 2, network: NetworkSettings = NETWORK, **train: Any) -> str:
    return training_key(step, network, structs.replace(TRAIN, **train), CODE, CPU, None).whole


def changes_of(settings: type, **changes: Any) -> list[tuple[str, Any]]:
    """The changes, which must be of all fields."""
    assert set(changes) == {field.name for field in structs.fields(settings)}
    return list(changes.items())


SCHEDULE_CHANGES = {
    "epochs": 3,
    "learning_rate": 0.06,
    "milestones": [],
    "decay": 0.2,
    "weight_decay": 6e-4,
    "momentum": 0.8,
    "batch_size": 9,
    "warmup_epochs": 1,
}
PHASE_CHANGES = {**SCHEDULE_CHANGES, "reinitialize_heads": True}
NETWORK_CHANGES = {
    "backbone": "resnet",
    "depth": 14,
    "stem": "large",
    "head_bias": False,
    "head_initialization": "lecun_normal",
    "inherit_head": False,
    "expansion": False,
    "mean": [0.5],
    "std": [0.5],
    "tuned": "last",
}
WITHOUT_EFFECT = {"weights": "pretrained"}  # which an input holds


@pytest.mark.usefixtures("place")
def test_the_key_is_a_function_and_fits_a_file_name() -> None:
    assert key() == key()
    assert re.fullmatch("[0-9a-f]{64}", key())


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("name", "value"), changes_of(NetworkSettings, **NETWORK_CHANGES, **WITHOUT_EFFECT))
def test_the_network_changes_the_key(name: str, value: Any) -> None:
    network = structs.replace(NETWORK, mean=[0.4], std=[0.4])
    structs.force_setattr(changed := structs.replace(network), name, value)  # some alone are refused
    assert (key(network=changed) != key(network=network)) == (name not in WITHOUT_EFFECT)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("precision", "bfloat16")])
def test_what_the_phases_share_changes_the_key(name: str, value: Any) -> None:
    assert key(**{name: value}) != key()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "value"),
    changes_of(
        AugmentationSettings, resized_crop=[0.5, 1.0], crop_padding=2, horizontal_flip=False, brightness=0.3
    ),
)
def test_the_augmentation_changes_the_key(name: str, value: Any) -> None:
    assert key(augmentation=augmentation_settings(**{name: value})) != key()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "value"),
    changes_of(
        IncrementalSettings,
        **PHASE_CHANGES,
        auxiliary_weight=0.5,
        rebalancing="none",
        classifier=classifier_settings(),
    ),
)
def test_the_incremental_phase_changes_the_keys_of_later_steps_alone(
    name: str, value: Any, place: Path
) -> None:
    changed = {"incremental": structs.replace(TRAIN.incremental, **{name: value})}
    assert key(**changed) != key()
    write_inputs(place, {one.replace("/1/", "/0/").replace("/2/", "/1/"): INPUTS[one] for one in INPUTS})
    assert key(1, **changed) == key(1)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "value"), changes_of(ClassifierSettings, **SCHEDULE_CHANGES, temperature=1.0)
)
def test_the_classifier_stage_changes_the_key(name: str, value: Any) -> None:
    stage = structs.replace(TRAIN.incremental.classifier, **{name: value})
    assert key(incremental=structs.replace(TRAIN.incremental, classifier=stage)) != key()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "value"),
    changes_of(
        MaskSettings, sparsity_weight=0.3, sharpness=9.0, rate_factor=2.0, start_mean=1.0, start_deviation=0.0
    ),
)
def test_the_masks_change_the_key(name: str, value: Any) -> None:
    assert len({key(), key(masks=mask_settings()), key(masks=mask_settings(**{name: value}))}) == 3


@pytest.mark.parametrize(("name", "value"), changes_of(PhaseSettings, **PHASE_CHANGES))
def test_the_base_phase_changes_the_key_of_the_first_step_alone(name: str, value: Any, place: Path) -> None:
    changed = {"base": structs.replace(TRAIN.base, **{name: value})}
    assert key(**changed) == key()
    write_inputs(place, {one.replace("/1/", "/0/").replace("/2/", "/1/"): INPUTS[one] for one in INPUTS})
    assert key(1, **changed) != key(1)


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_s_bytes_change_the_key(name: str, place: Path) -> None:
    before = key()
    write_inputs(place, {name: b"other"})
    assert key() != before
    write_inputs(place, {name: INPUTS[name]})
    assert key() == before
    (place / "data" / name).rename(place / "data" / f"{name}x")
    seal((place / "data" / name).parent, {})
    assert key() != before


def test_contents_that_change_places_change_the_key(place: Path) -> None:
    before = key()
    one, two = list(INPUTS)[:2]
    write_inputs(place, {one: INPUTS[two], two: INPUTS[one]})
    assert key() != before


def test_what_training_does_not_read_leaves_the_key(place: Path) -> None:
    before = key()
    write_inputs(place, dict.fromkeys(("tasks/2/test/ant.npy", "tasks/1/train/ant.npy", "memory/2/x"), b"x"))
    (place / "params.yaml").write_text("memory: 1")
    assert key() == before


def test_the_place_leaves_the_key(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    shutil.copytree(place, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert key() == before


ARITHMETIC: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    # The sums of some operations depend on it.
    "threads": lambda patch: patch.setattr(torch, "get_num_threads", lambda: 99),
    "torch": lambda patch: patch.setattr(torch, "__version__", "99.0"),
    "python": lambda patch: patch.setattr(sys, "version", "99.0"),
    "processor": lambda patch: patch.setattr("der.core.device.processor_name", lambda: "Z80"),
    "instructions": lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "MMX"),
    "torch's kernels": lambda patch: patch.setenv("ATEN_CPU_CAPABILITY", "default"),
    "oneDNN's kernels": lambda patch: patch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41"),
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", ARITHMETIC)
def test_what_decides_on_the_bits_changes_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    ARITHMETIC[name](monkeypatch)
    assert key() != before


@pytest.mark.usefixtures("place")
def test_the_device_changes_the_key() -> None:
    assert training_key(2, NETWORK, TRAIN, CODE, torch.device("mps"), None).whole != key()


@pytest.mark.usefixtures("place")
def test_the_code_changes_the_key() -> None:
    assert training_key(2, NETWORK, TRAIN, CODE + "4567 der.core\n", CPU, None).whole != key()


@pytest.mark.usefixtures("place")
def test_compiled_kernels_change_the_key() -> None:
    """Whether the step is trained by them, and by which machine code."""
    found = [Kernels(Compiled(Mock(), digest)) for digest in ("one", "other")]
    keys = {training_key(2, NETWORK, TRAIN, CODE, CPU, kernels).whole for kernels in found}
    assert len(keys | {key()}) == 3


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "{home}/.cache/der/scratch"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/der/scratch"),
        ({"XDG_CACHE_HOME": "", "DER_SCRATCH": ""}, "{home}/.cache/der/scratch"),
        ({"XDG_CACHE_HOME": "/cache", "DER_SCRATCH": "/fast"}, "/fast"),
        ({"DER_SCRATCH": "~/fast"}, "{home}/fast"),
        ({"DER_SCRATCH": "fast"}, "{here}/fast"),
    ],
)
def test_the_root(
    variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "DER_SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": str(tmp_path / "home")}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert scratch_root() == Path(expected.format(home=tmp_path / "home", here=tmp_path))


def test_a_home_directory_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DER_SCRATCH", "~nobody-of-this-name/scratch")
    with pytest.raises(UserError, match=r"^DER_SCRATCH: ~nobody-of-this-name/scratch: there is no such home"):
        scratch_root()


def test_a_full_disk_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DER_SCRATCH", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    message = (
        r"file/der-key: training state cannot be written \(.+\); make room there, or set DER_SCRATCH to a "
        r"directory elsewhere, and run again: it goes on from the last state$"
    )
    with pytest.raises(UserError, match=message), training_state(TrainingKey("key", "task"), print):
        pass
