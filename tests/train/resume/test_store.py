"""Training state on disk, its lock, and the key that names it."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import yaml
from msgspec.structs import fields, force_setattr, replace

import der
from der.common.atomic import atomic_file
from der.common.errors import UserError
from der.model.checkpoint import save_checkpoint
from der.project.environment import scratch_root
from der.settings.network import NetworkSettings
from der.settings.training import (
    AugmentationSettings,
    ClassifierSettings,
    IncrementalSettings,
    MaskSettings,
    PhaseSettings,
)
from der.train.log import EpochRecord
from der.train.resume.finished import FINISHED, mark_of, remove_finished
from der.train.resume.key import scratch_key
from der.train.resume.locks import WAITING, remove_unused
from der.train.resume.store import MAX_AGE, Saved, StateStore, remove_old
from tests.builders import (
    CPU,
    NETWORK,
    augmentation_settings,
    classifier_settings,
    incremental_settings,
    mask_settings,
    phase_settings,
    random_checkpoint,
    train_settings,
)
from tests.locations import ROOT

VALUES = 1000


def make_saved(epochs: int, values: int = VALUES) -> Saved:
    """The state after ``epochs`` epochs, with floats that no short decimal equals."""
    state = torch.randn(values, generator=torch.Generator().manual_seed(epochs))
    records = [
        EpochRecord("phase", n, 0.1 / n, 1 / (3 * n), 1e-300 / n, 100 / n) for n in range(1, epochs + 1)
    ]
    return Saved(records, state)


def save(scratch: StateStore, epochs: int, phase: str = "phase", *, last: bool = True) -> None:
    saved = make_saved(epochs)
    scratch.save(phase, saved.records, lambda: saved.state, last=last)


def keep(scratch: StateStore, epochs: int, phase: str = "phase") -> None:
    """Save, and wait for the write."""
    save(scratch, epochs, phase)
    assert scratch.pending is not None
    futures.wait([scratch.pending])


def states(scratch: StateStore) -> list[str]:
    """All files but the locks."""
    return sorted(path.name for path in scratch.directory.iterdir() if path.name not in ("lock", WAITING))


class Sandbox:
    """Opens scratch directories under one root, and keeps the warnings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []

    def open(self, key: str = "key") -> StateStore:
        return StateStore(self.root, key, self.warnings.append)

    def loaded(self, phase: str = "phase") -> int | None:
        """Epochs of the state that a new run finds, which must be that of ``make_saved``."""
        with self.open() as scratch:
            saved = scratch.load(phase)
        if saved is None:
            return None
        expected = make_saved(len(saved.records))
        assert saved.records == expected.records
        assert torch.equal(saved.state, expected.state)
        return len(saved.records)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path / "new" / "scratch")


def test_round_trip_to_the_bit(sandbox: Sandbox) -> None:
    saved = make_saved(3)
    saved.state[:4] = torch.tensor([0.0, -0.0, 1e-45, 3.4e38])
    with sandbox.open() as scratch:
        scratch.save("phase", saved.records, lambda: saved.state, last=True)
    with sandbox.open() as scratch:
        loaded = scratch.load("phase")
    assert loaded is not None
    assert loaded.records == saved.records
    assert all(type(one) is EpochRecord and type(one.epoch) is int for one in loaded.records)
    assert loaded.state.dtype == torch.float32
    assert torch.equal(loaded.state.view(torch.int32), saved.state.view(torch.int32))
    assert not sandbox.warnings


def test_nothing_is_found_at_first_nor_of_another_phase(sandbox: Sandbox) -> None:
    assert sandbox.loaded() is None
    with sandbox.open() as scratch:
        keep(scratch, 1, "other")
    assert sandbox.loaded() is None
    assert sandbox.loaded("other") == 1


def test_nothing_is_found_under_another_key(sandbox: Sandbox) -> None:
    with sandbox.open("another key") as scratch:
        keep(scratch, 1)
    assert sandbox.loaded() is None


def test_the_newest_two_are_kept(sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        for epochs in (8, 9, 10, 11):
            keep(scratch, epochs)
        assert states(scratch) == ["phase-000010.state", "phase-000011.state"]
        keep(scratch, 1, "other")
        assert len(states(scratch)) == 3
    assert sandbox.loaded() == 11


def test_saving_never_waits_for_the_disk(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    gate: futures.Future[None] = futures.Future()

    @contextmanager
    def write_at_the_gate(path: Path) -> Iterator[Path]:
        gate.result(20)
        with atomic_file(path) as partial:
            yield partial

    monkeypatch.setattr("der.train.resume.store.atomic_file", write_at_the_gate)
    with sandbox.open() as scratch:
        for epochs in (1, 2, 3):
            save(scratch, epochs, last=False)  # would wait for ever
        gate.set_result(None)
        save(scratch, 4)
    assert states(scratch) == ["phase-000001.state", "phase-000004.state"]
    assert sandbox.loaded() == 4


@pytest.mark.parametrize("seconds", [0.001, 0.1, 1.0])
def test_copying_the_state_takes_two_percent_of_the_time_at_most(
    seconds: float, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, epochs, copies = 0.0, 500, 0
    monkeypatch.setattr("der.train.resume.store.time.perf_counter", lambda: now)

    def pack() -> torch.Tensor:
        nonlocal now, copies
        now, copies = now + seconds, copies + 1
        return make_saved(1).state

    with sandbox.open() as scratch:
        for epoch in range(1, epochs + 1):
            now += 1.0
            scratch.save("phase", make_saved(epoch).records, pack, last=epoch == epochs)
            assert scratch.pending is not None
            futures.wait([scratch.pending])
            assert len(scratch.load("phase").records) == epoch or seconds > 0.02  # type: ignore[union-attr]
        assert len(scratch.load("phase").records) == epochs  # type: ignore[union-attr]
    assert copies * seconds <= 0.02 * now + 2 * seconds  # the first and the last are never left out
    assert copies * seconds >= min(epochs * seconds, 0.015 * now)


def test_records_that_grow_later_are_not_saved(sandbox: Sandbox) -> None:
    saved = make_saved(2)
    records = list(saved.records)
    with sandbox.open() as scratch:
        scratch.save("phase", records, lambda: records.append(records[0]) or saved.state, last=True)  # type: ignore[func-returns-value]
        records.clear()
    assert sandbox.loaded() == 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "the checksum": lambda content: bytes([content[0] ^ 128]) + content[1:],
    "truncated": lambda content: content[:-1],
    "checksum alone": lambda content: content[:32],
    "less than a checksum": lambda content: content[:10],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "appended": lambda content: content + b"\0",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_state_is_set_aside_for_the_one_before(name: str, sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        for epochs in (1, 2):
            keep(scratch, epochs)
    newest = scratch.directory / "phase-000002.state"
    newest.write_bytes(DAMAGES[name](newest.read_bytes()))
    assert sandbox.loaded() == 1
    assert len(sandbox.warnings) == 1
    assert sandbox.warnings[0].startswith(f"{newest}: damaged, set aside; ")
    assert states(scratch) == ["phase-000001.state", "phase-000002.damaged"]
    assert sandbox.loaded() == 1
    assert len(sandbox.warnings) == 1


def test_without_a_whole_state_training_starts_anew(sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        for epochs in (1, 2):
            keep(scratch, epochs)
    for path in scratch.directory.glob("*.state"):
        path.write_bytes(b"damaged")
    assert sandbox.loaded() is None
    assert len(sandbox.warnings) == 2
    with sandbox.open() as scratch:
        keep(scratch, 1)
    assert sandbox.loaded() == 1


def test_what_a_killed_write_left_is_not_state(sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        keep(scratch, 1)
        (scratch.directory / "phase-000002.state.partial").write_bytes(b"half")
    assert sandbox.loaded() == 1
    assert not sandbox.warnings


HOLD = """
import sys
from pathlib import Path
from der.train.resume.locks import remove_unused
from der.train.resume.store import StateStore

def warn(sentence):
    print(sentence, flush=True)

with StateStore(Path(sys.argv[1]), "key", warn) as scratch:
    print("held", flush=True)
    sys.stdin.read()
remove_unused(scratch.directory)
"""


class Holder:
    """Another process that holds the directory of the same key as soon as it can."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root)],
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()

    def hear(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def succeed(self) -> None:
        """Have it remove the state and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture
def holder(sandbox: Sandbox) -> Iterator[Holder]:
    with Holder(sandbox.root) as holder:
        assert holder.hear() == "held\n"
        yield holder


def says_whom(sandbox: Sandbox, holder: Holder) -> str:
    directory = sandbox.root / "der-key"
    return f"{directory}: in use by process {holder.process.pid}; waiting until it ends\n"


def test_a_second_process_waits_until_the_first_is_killed(holder: Holder, sandbox: Sandbox) -> None:
    with sandbox.open("another key"):
        pass
    with Holder(sandbox.root) as second:
        assert second.hear() == says_whom(sandbox, holder)
        holder.process.send_signal(signal.SIGKILL)
        assert second.hear() == "held\n"
        assert (sandbox.root / "der-key/lock").read_text() == f"process {second.process.pid}"
    assert not sandbox.warnings


def test_the_state_is_left_to_those_who_wait(holder: Holder, sandbox: Sandbox) -> None:
    state = sandbox.root / "der-key/phase-000001.state"
    state.touch()
    with Holder(sandbox.root) as second, Holder(sandbox.root) as third:
        for waiting in (second, third):
            assert waiting.hear() == says_whom(sandbox, holder)
        holder.succeed()
        with futures.ThreadPoolExecutor() as pool:
            heard = {pool.submit(one.hear): one for one in (second, third)}
            next_one = heard[next(futures.as_completed(heard))]
            assert state.exists()
            next_one.succeed()
        assert state.exists()
        (second if next_one is third else third).succeed()
    assert list(sandbox.root.iterdir()) == []


@pytest.mark.parametrize("anew", [False, True], ids=["gone", "made anew"])
def test_a_directory_removed_while_its_lock_was_taken(
    anew: bool, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def take_when_removed(file: IO[bytes]) -> bool:
        taken.append(file)
        if len(taken) == 1:
            directory = sandbox.root / "der-key"
            shutil.rmtree(directory)
            if anew:
                directory.mkdir()
                (directory / "lock").touch()
        return True

    monkeypatch.setattr("der.train.resume.store.lock_now", take_when_removed)
    with sandbox.open() as scratch:
        assert (scratch.directory / "lock").read_text() == f"process {os.getpid()}"
    assert len(taken) == 2
    assert all(file.closed for file in taken)


def test_an_error_inside_frees_it_and_keeps_the_state(sandbox: Sandbox) -> None:
    with suppress(KeyError), sandbox.open() as scratch:
        save(scratch, 1)
        raise KeyError
    assert sandbox.loaded() == 1


def test_a_mark_lies_beside_all_that_was_saved(sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        save(scratch, 1)
        scratch.mark("finished", "text")
        assert states(scratch) == ["finished", "phase-000001.state"]
    assert (scratch.directory / "finished").read_text() == "text"
    assert sandbox.loaded() == 1


def test_only_what_nobody_uses_is_removed(sandbox: Sandbox) -> None:
    with sandbox.open("another key") as other:
        keep(other, 1)
    with sandbox.open() as scratch:
        keep(scratch, 1)
        remove_unused(scratch.directory)
        assert states(scratch) == ["phase-000001.state"]
    remove_unused(scratch.directory)
    remove_unused(scratch.directory)  # not there any more
    assert [path.name for path in sandbox.root.iterdir()] == [other.directory.name]
    assert len(states(other)) == 1


def test_state_of_a_finished_step_is_removed_by_its_checkpoint(
    place: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DER_SCRATCH", str(sandbox.root))
    write_inputs(place, {"checkpoints/2/network.json": b"{}", "checkpoints/2/head.safetensors": b"other"})
    for name, step in (("one", 1), ("two", 2), ("twin", 2)):
        with sandbox.open(name) as scratch:
            keep(scratch, 1)
            scratch.mark(FINISHED, mark_of(step))
    make_state(sandbox, "not finished")
    remove_finished(2)
    assert sorted(path.name for path in sandbox.root.iterdir()) == ["der-not finished", "der-one"]
    write_inputs(place, {"checkpoints/1/head.safetensors": b"other"})
    remove_finished(1)
    assert (sandbox.root / "der-one").exists()


def make_old(path: Path) -> None:
    """As last written just before ``MAX_AGE``."""
    moment = path.stat().st_mtime - MAX_AGE - 60
    os.utime(path, (moment, moment))


def make_state(sandbox: Sandbox, key: str) -> Path:
    with sandbox.open(key) as scratch:
        keep(scratch, 1)
    return scratch.directory


def test_only_old_scratch_directories_are_removed_by_age(sandbox: Sandbox) -> None:
    old, fresh = make_state(sandbox, "old"), make_state(sandbox, "fresh")
    # The root may be one that the user shares with other things.
    kept = [sandbox.root / name for name in ("photos", "der-photos", "derived", "xder-photos")]
    for directory in kept:
        directory.mkdir()
        (directory / "image.png").touch()
    (sandbox.root / "photos" / "lock").touch()
    (sandbox.root / "der-notes.txt").touch()
    for path in sandbox.root.iterdir():
        if path != fresh:
            make_old(path)
    with sandbox.open("new"):
        pass
    assert not old.exists()
    assert (fresh / "phase-000001.state").exists()
    assert all((directory / "image.png").exists() for directory in kept)
    assert (sandbox.root / "der-notes.txt").exists()


def test_what_is_in_use_is_never_too_old(sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        keep(scratch, 1)
        make_old(scratch.directory)
        with sandbox.open("another key"):
            pass
        assert states(scratch) == ["phase-000001.state"]


def test_age_is_that_of_the_last_write(sandbox: Sandbox) -> None:
    directory = make_state(sandbox, "key")
    make_old(directory)
    with sandbox.open() as scratch:  # which also means: a run's own state is never too old for it
        assert scratch.load("phase") is not None
        keep(scratch, 2)
        remove_old(sandbox.root, MAX_AGE)
    assert sandbox.loaded() == 2


def test_a_directory_that_another_process_removes_meanwhile(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = [make_state(sandbox, name) for name in ("one", "two")]
    for directory in directories:
        make_old(directory)
    exists = Path.exists

    def exists_no_more(path: Path) -> bool:
        found = exists(path)
        shutil.rmtree(path.parent, ignore_errors=True)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", exists_no_more)
        remove_old(sandbox.root, MAX_AGE)
    assert not any(directory.exists() for directory in directories)


FULL = (
    r"key: training state cannot be written \(No space left on device\); make room, or set DER_SCRATCH to a "
    r"directory elsewhere, and run again: it goes on from the last state$"
)


def test_a_full_disk_and_then_room(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def write_in_vain(path: Path) -> Iterator[Path]:
        with atomic_file(path) as partial:
            yield partial
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with sandbox.open() as scratch:
        keep(scratch, 1)
        with monkeypatch.context() as patch:
            patch.setattr("der.train.resume.store.atomic_file", write_in_vain)
            keep(scratch, 2)
        with pytest.raises(UserError, match=FULL):
            keep(scratch, 3)
    assert states(scratch) == ["phase-000001.state"]
    assert sandbox.loaded() == 1
    with sandbox.open() as scratch:
        keep(scratch, 2)
    assert sandbox.loaded() == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Write to ``path`` until the disk is full."""
    with pytest.raises(OSError, match="No space left"), path.open("wb", buffering=0) as stream:  # noqa: PT012
        while True:
            stream.write(bytes(4096))


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    sandbox = Sandbox(small_disk)
    with sandbox.open() as scratch:
        keep(scratch, 1)
        fill(small_disk / "filler")
        keep(scratch, 2)
        with pytest.raises(UserError, match=FULL):
            keep(scratch, 3)
    assert states(scratch) == ["phase-000001.state"]
    (small_disk / "filler").unlink()
    assert sandbox.loaded() == 1
    with sandbox.open() as scratch:
        keep(scratch, 2)
    assert sandbox.loaded() == 2


def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(UserError, match=FULL), Sandbox(small_disk).open():
        pass


def test_a_checkpoint_on_a_full_disk_is_whole_or_absent(small_disk: Path) -> None:
    checkpoint = random_checkpoint([2])
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left on device") as caught:
        save_checkpoint(small_disk / "1", checkpoint, small_disk / "0")
    assert "\n" not in str(caught.value)
    assert not list(small_disk.iterdir())


LIBRARY = Path(der.__file__).parent
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
    "tasks/2/classes.json": b"{}",
    "checkpoints/1/network.json": b"{}",
    "checkpoints/1/head.safetensors": b"head",
    "memory/1/images.npy": b"images",
}


def write_inputs(root: Path, inputs: Inputs = INPUTS) -> None:
    for name, content in inputs.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the inputs of step 2, in which the stage runs."""
    root = tmp_path / "repository"
    write_inputs(root)
    monkeypatch.chdir(root)
    return root


def key(step: int = 2, network: NetworkSettings = NETWORK, **train: Any) -> str:
    return scratch_key(step, network, replace(TRAIN, **train), CPU)


def changes_of(settings: type, **changes: Any) -> list[tuple[str, Any]]:
    """The changes, which must be of all fields."""
    assert set(changes) == {field.name for field in fields(settings)}
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
    "expansion": False,
    "mean": [0.5],
    "std": [0.5],
}


@pytest.mark.usefixtures("place")
def test_the_key_is_a_function_and_fits_a_file_name() -> None:
    assert key() == key()
    assert re.fullmatch("[0-9a-f]{64}", key())


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("name", "value"), changes_of(NetworkSettings, **NETWORK_CHANGES))
def test_the_network_changes_the_key(name: str, value: Any) -> None:
    network = replace(NETWORK, mean=[0.4], std=[0.4])
    force_setattr(changed := replace(network), name, value)  # mean and std alone are refused
    assert key(network=changed) != key(network=network)


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
    changed = {"incremental": replace(TRAIN.incremental, **{name: value})}
    assert key(**changed) != key()
    write_inputs(place, {one.replace("/1/", "/0/").replace("/2/", "/1/"): INPUTS[one] for one in INPUTS})
    assert key(1, **changed) == key(1)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "value"), changes_of(ClassifierSettings, **SCHEDULE_CHANGES, temperature=1.0)
)
def test_the_classifier_stage_changes_the_key(name: str, value: Any) -> None:
    stage = replace(TRAIN.incremental.classifier, **{name: value})
    assert key(incremental=replace(TRAIN.incremental, classifier=stage)) != key()


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
    changed = {"base": replace(TRAIN.base, **{name: value})}
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
    if (place / "data" / name).parent.name != "2":  # classes.json is named by itself
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
    "processor": lambda patch: patch.setattr("der.common.device.processor_name", lambda: "Z80"),
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
    assert scratch_key(2, NETWORK, TRAIN, torch.device("mps")) != key()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library, in place of it."""
    shutil.copytree(LIBRARY, tmp_path / "library")
    monkeypatch.setattr(der, "__file__", str(tmp_path / "library" / "__init__.py"))
    return tmp_path / "library"


@pytest.mark.usefixtures("place")
def test_the_code_that_training_runs_changes_the_key(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((LIBRARY.parent.parent / "dvc.yaml").read_text(encoding="utf-8"))
    declared = [Path(path) for path in content["stages"]["train_task"]["do"]["deps"]]
    entries = [library / path.relative_to("src/der") for path in declared if path.is_relative_to("src/der")]
    files = [file for entry in entries for file in ([entry] if entry.is_file() else entry.rglob("*.py"))]
    assert len(files) > 20
    before = key()
    for file in files:
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "# edited\n", encoding="utf-8")
        assert key() != before, file
        file.write_text(text, encoding="utf-8")
    assert key() == before
    with (library / "summary" / "plots.py").open("a") as stream:
        stream.write("# edited\n")
    assert key() == before
    monkeypatch.undo()  # the original, at another place and with more of it loaded
    monkeypatch.chdir(library.parent / "repository")
    assert key() == before


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
