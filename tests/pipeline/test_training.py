"""What training has of the project: all that its key depends on, where state lies, who is told."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from msgspec import structs

from der.core.errors import UserError
from der.core.files import seal
from der.model.kernels.processor import Kernels
from der.pipeline import environment
from der.pipeline.environment import scratch_root
from der.pipeline.training import listening, training_state
from der.settings.sections import NetworkSettings
from der.train.log import EpochRecord, Listener
from der.train.step import StepInputs
from stages.train_task import training_key
from tests.builders import (
    CPU,
    NETWORK,
    classifier_settings,
    incremental_settings,
    mask_settings,
    phase_settings,
    train_settings,
    training_images,
)

CODE = "0123 der\n"  # a fingerprint
NO_IMAGES = training_images(0, [1])
TRAIN = train_settings(
    base=phase_settings(epochs=4, warmup_epochs=2),
    incremental=incremental_settings(
        epochs=4, warmup_epochs=2, classifier=classifier_settings(epochs=4, warmup_epochs=2)
    ),
    masks=mask_settings(),
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
FIRST_STEP = {one.replace("/1/", "/0/").replace("/2/", "/1/"): content for one, content in INPUTS.items()}


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
    monkeypatch.delenv("DER_LISTENER", raising=False)
    return root


def key(
    step: int = 2,
    network: NetworkSettings = NETWORK,
    code: str = CODE,
    device: torch.device = CPU,
    kernels: Kernels | None = None,
    **train: Any,
) -> str:
    settings = structs.replace(TRAIN, **train)
    inputs = StepInputs(None, [["ant"]] * step, NO_IMAGES, network, settings, device, kernels=kernels)
    return training_key(step, inputs, inputs.device, code)


def test_the_key_is_a_function_and_fits_a_file_name(place: Path) -> None:
    assert key() == key()
    assert re.fullmatch("[0-9a-f]{64}", key())
    before = key()
    write_inputs(place, dict.fromkeys(("tasks/2/test/ant.npy", "tasks/1/train/ant.npy", "memory/2/x"), b"x"))
    (place / "params.yaml").write_text("memory: 1")
    assert key() == before  # training does not read these


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else [] if value != [] else None


def each_changed(section: Any) -> Iterator[tuple[str, Any]]:
    """The section with one setting changed, also to what alone would be refused, and that setting's name."""
    for name in section.__struct_fields__:
        structs.force_setattr(changed := structs.replace(section), name, other(getattr(section, name)))
        yield name, changed


@pytest.mark.parametrize("section", ["augmentation", "masks", "base", "incremental"])
def test_every_setting_changes_the_keys_of_the_steps_that_it_reaches(section: str, place: Path) -> None:
    write_inputs(place, FIRST_STEP)
    reached = {"base": [1], "incremental": [2]}.get(section, [1, 2])
    for step in (1, 2):
        before = key(step)
        for name, changed in each_changed(getattr(TRAIN, section)):
            assert (key(step, **{section: changed}) != before) == (step in reached), name


@pytest.mark.usefixtures("place")
def test_the_classifier_stage_and_the_network_change_the_key() -> None:
    for name, stage in each_changed(TRAIN.incremental.classifier):
        assert key(incremental=structs.replace(TRAIN.incremental, classifier=stage)) != key(), name
    before = structs.replace(NETWORK, mean=[0.4], std=[0.4])
    for name, after in each_changed(before):
        assert (key(network=after) != key(network=before)) == (name != "weights"), name  # an input holds them


def test_every_input_s_bytes_and_names_change_the_key(place: Path) -> None:
    before = key()
    one, two = list(INPUTS)[:2]
    for name in INPUTS:
        write_inputs(place, {name: b"other"})
        assert key() != before
        write_inputs(place, {name: INPUTS[name]})
        assert key() == before
    write_inputs(place, {one: INPUTS[two], two: INPUTS[one]})
    assert key() != before


@pytest.mark.usefixtures("place")
def test_code_device_seed_precision_and_kernels_change_the_key() -> None:
    """Also by which machine code the step is trained."""
    compiled = [Kernels(Mock(), digest) for digest in ("one", "other")]
    keys = {
        *(key(), key(seed=1), key(precision="bfloat16"), key(masks=None)),
        *(key(code=CODE + "4567 der.core\n"), key(device=torch.device("mps"))),
        *(key(kernels=kernels) for kernels in compiled),
    }
    assert len(keys) == 8


ARITHMETIC: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    # The sums of some operations depend on it.
    "threads": lambda patch: patch.setattr(torch, "get_num_threads", lambda: 99),
    "torch": lambda patch: patch.setattr(torch, "__version__", "99.0"),
    "python": lambda patch: patch.setattr(sys, "version", "99.0"),
    "processor": lambda patch: patch.setattr("der.core.cost.processor_name", lambda: "Z80"),
    "instructions": lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "MMX"),
    "torch's kernels": lambda patch: patch.setenv("ATEN_CPU_CAPABILITY", "default"),
    "oneDNN's kernels": lambda patch: patch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41"),
    "processes": lambda patch: patch.setenv("DER_PROCESSES", "2"),
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", ARITHMETIC)
def test_what_decides_on_the_bits_changes_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    ARITHMETIC[name](monkeypatch)
    assert key() != before


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


def test_a_place_that_cannot_be_written_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DER_SCRATCH", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    message = (
        r"file/der-key: training state cannot be written \(.+\); make room there, or set DER_SCRATCH to a "
        r"directory elsewhere; it then goes on from the last state$"
    )
    with pytest.raises(UserError, match=message), training_state("key", print):
        pass


def test_a_listener_that_the_environment_names_is_told_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []

    class Own(Listener):
        def __init__(self, stage: str) -> None:
            told.append(stage)

        def on_epoch(self, record: EpochRecord) -> None:
            told.append(f"epoch {record.epoch}")

    monkeypatch.setitem(sys.modules, "own_tracker", SimpleNamespace(Own=Own))
    for named in ("", "own_tracker:Own"):
        monkeypatch.setenv("DER_LISTENER", named)
        with listening("train_task 3") as listener:
            listener.on_step({"representation": 1})
            listener.on_phase("representation", 1, 10)
            listener.on_epoch(EpochRecord("representation", 1, 0.1, 1.0, 0.5, 90.0))
        assert told == (["train_task 3", "epoch 1"] if named else [])
        assert capsys.readouterr().out.startswith("train_task 3, representation: epoch 1/1")


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ("no_such:Own", "No module named 'no_such'"),
        ("der.train.log:Own", "module 'der.train.log' has no attribute 'Own'"),
    ],
)
def test_a_listener_that_is_not_there_is_one_sentence(
    named: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DER_LISTENER", named)
    with pytest.raises(UserError) as caught:
        environment.find_listener()
    assert str(caught.value) == f"DER_LISTENER: {fault}; write module:function, or unset it"
