"""Training state on disk: what is saved and found again, also where the disk is full."""

import errno
import os
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from der.core.atomic import atomic_file
from der.core.errors import UserError
from der.core.sealed import sealed_directory
from der.model.checkpoint import save_checkpoint
from der.train.log import EpochRecord
from der.train.resume import mark_of
from der.train.resume import SPENT, UnwritableState
from tests.builders import random_checkpoint
from tests.train.resume.sandbox import Sandbox, keep, make_saved, save, states


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


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_state_that_cannot_be_read_is_set_aside_too(make: Callable[[Path], None], sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        keep(scratch, 1)
    newest = scratch.directory / "phase-000002.state"
    make(newest)
    assert sandbox.loaded() == 1
    assert sandbox.warnings[0].startswith(f"{newest}: damaged, set aside; ")


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


def test_an_error_inside_frees_it_and_keeps_the_state(sandbox: Sandbox) -> None:
    with suppress(KeyError), sandbox.open() as scratch:
        save(scratch, 1)
        raise KeyError
    assert sandbox.loaded() == 1


def test_a_mark_lies_beside_all_that_was_saved(sandbox: Sandbox, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    with sealed_directory(checkpoint) as directory:
        (directory / "head.safetensors").write_text("weights")
    with sandbox.open() as scratch:
        save(scratch, 1)
        scratch.finish(checkpoint)
        assert states(scratch) == ["finished", "phase-000001.state"]
    assert (scratch.directory / "finished").read_text() == mark_of(checkpoint)
    assert sandbox.loaded() == 1


FULL = r"key: training state cannot be written \(No space left on device\); make room there$"


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
        with pytest.raises(UnwritableState, match=FULL):
            keep(scratch, 3)
    assert states(scratch) == ["phase-000001.state"]
    assert sandbox.loaded() == 1
    with sandbox.open() as scratch:
        keep(scratch, 2)
    assert sandbox.loaded() == 2


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
        with pytest.raises(UnwritableState, match=FULL):
            keep(scratch, 3)
    assert states(scratch) == ["phase-000001.state"]
    (small_disk / "filler").unlink()
    assert sandbox.loaded() == 1
    with sandbox.open() as scratch:
        keep(scratch, 2)
    assert sandbox.loaded() == 2


def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(UnwritableState, match=FULL), Sandbox(small_disk).open():
        pass


def test_a_checkpoint_on_a_full_disk_is_whole_or_absent(small_disk: Path) -> None:
    checkpoint = random_checkpoint([2])
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left on device") as caught:
        save_checkpoint(small_disk / "1", checkpoint, small_disk / "0")
    assert "\n" not in str(caught.value)
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize(
    "text", ["[5, Infinity]", "[Infinity, 5]", "[NaN, 1]", "[" * 100_000, "\xff", "[-1, 2]"]
)
def test_what_earlier_runs_cost_where_the_file_tells_nothing(text: str, sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        keep(scratch, 1, "phase")
        place = scratch.directory / SPENT
    place.write_text(text, encoding="latin-1")
    with sandbox.open() as scratch:
        assert 0 <= scratch.clock.spent().seconds < 60
    assert sandbox.loaded() == 1
