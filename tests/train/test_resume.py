"""Training state on disk: what is saved is found again, whoever is killed or waits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from der.core.cost import WorkClock
from der.train.log import EpochRecord
from der.train.resume import MAX_AGE, STATE, Saved, StateStore, remove_finished, remove_old
from tests.locations import ROOT

pytestmark = pytest.mark.slow


def make_saved(epochs: int) -> Saved:
    """The state after ``epochs`` epochs, with floats that no short decimal equals."""
    state = torch.randn(1000, generator=torch.Generator().manual_seed(epochs))
    state[:4] = torch.tensor([0.0, -0.0, 1e-45, 3.4e38])
    records = [
        EpochRecord("phase", n, 0.1 / n, 1 / (3 * n), 1e-300 / n, 100 / n) for n in range(1, epochs + 1)
    ]
    return Saved(records, state)


def save(store: StateStore, epochs: int, phase: str = "phase", *, last: bool = True) -> None:
    saved = make_saved(epochs)
    store.save(phase, saved.records, lambda: saved.state, last=last)


class Sandbox:
    """Opens directories of state under one root, and keeps the warnings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []

    def open(self, key: str = "key", clock: WorkClock | None = None) -> StateStore:
        return StateStore(self.root, key, self.warnings.append, clock)

    def make(self, key: str = "key", checkpoint: str | None = None) -> Path:
        """State after one epoch, and if it is that of a checkpoint the mark that says so."""
        with self.open(key) as store:
            save(store, 1)
            if checkpoint is not None:
                store.finish(checkpoint)
        return store.directory

    def loaded(self, phase: str = "phase", key: str = "key") -> int | None:
        """Epochs of the state that a new run finds, which must be that of ``make_saved`` to the bit."""
        with self.open(key) as store:
            saved = store.load(phase)
        if saved is None:
            return None
        expected = make_saved(len(saved.records))
        assert saved.records == expected.records
        assert all(type(one) is EpochRecord and type(one.epoch) is int for one in saved.records)
        assert torch.equal(saved.state.view(torch.int32), expected.state.view(torch.int32))
        return len(saved.records)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path / "new" / "scratch")


def test_what_is_saved_is_found_to_the_bit_by_phase_and_key(sandbox: Sandbox) -> None:
    assert sandbox.loaded() is None
    with sandbox.open() as store:
        for epochs in (1, 2, 3):
            save(store, epochs)
        save(store, 2, "other")
    assert (sandbox.loaded(), sandbox.loaded("other"), sandbox.loaded("third")) == (3, 2, None)
    assert sandbox.loaded(key="another key") is None
    assert not sandbox.warnings


def test_writing_takes_a_hundredth_of_the_time(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now, writes = 0.0, 0
    monkeypatch.setattr("der.train.resume.time.perf_counter", lambda: now)
    with sandbox.open() as store:
        for epoch in range(1, 501):
            now += 1.0

            def pack(epoch: int = epoch) -> torch.Tensor:
                nonlocal now, writes
                now, writes = now + 0.1, writes + 1
                return make_saved(epoch).state

            store.save("phase", make_saved(epoch).records, pack, last=epoch == 500)
    assert 45 <= writes <= 52
    assert sandbox.loaded() == 500


@pytest.mark.parametrize("damage", ["a bit", "truncated", "empty"])
def test_damaged_state_is_set_aside_and_the_step_begins_anew(damage: str, sandbox: Sandbox) -> None:
    path = sandbox.make() / STATE
    content = path.read_bytes()
    damaged = {"a bit": content[:-1] + bytes([content[-1] ^ 1]), "truncated": content[:-1], "empty": b""}
    path.write_bytes(damaged[damage])
    assert sandbox.loaded() is None
    assert sandbox.warnings == [f"{path}: damaged, set aside; the step begins anew"]
    assert path.with_suffix(".damaged").exists()
    sandbox.make()
    assert sandbox.loaded() == 1 and len(sandbox.warnings) == 1


def test_what_earlier_runs_cost_counts(sandbox: Sandbox) -> None:
    for runs in (1, 2, 3):
        clock = WorkClock()
        with sandbox.open(clock=clock) as store:
            store.load("phase")
            clock.earlier = clock.earlier._replace(seconds=clock.earlier.seconds + 10)  # of this run
            save(store, runs)
            save(store, 1, "other", last=False)  # perhaps not written, but trained
        assert clock.spent().runs == runs
        assert 10 * runs <= clock.spent().seconds < 10 * runs + 60
        assert clock.epochs == {"phase": runs, "other": 1}


HOLD = """
import sys
from pathlib import Path
from der.train.resume import StateStore

with StateStore(Path(sys.argv[1]), "key", lambda sentence: print(sentence, flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that holds the state of the same key as soon as it can."""

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


def test_a_second_process_waits_until_the_first_is_killed(sandbox: Sandbox) -> None:
    directory = sandbox.make()
    with Holder(sandbox.root) as first:
        assert first.hear() == "held\n"
        with sandbox.open("another key"):
            pass
        with Holder(sandbox.root) as second:
            waiting = f"{directory}: in use by process {first.process.pid}; waiting until it ends\n"
            assert second.hear() == waiting
            remove_old(sandbox.root, age=-1)
            assert (directory / STATE).exists()  # in use
            first.process.send_signal(signal.SIGKILL)
            assert second.hear() == "held\n"
    assert sandbox.loaded() == 1
    assert not sandbox.warnings


def test_state_of_a_finished_step_is_removed_by_its_checkpoint(sandbox: Sandbox) -> None:
    for key, checkpoint in (("one", "1"), ("two", "2"), ("twin", "2"), ("unfinished", None)):
        sandbox.make(key, checkpoint)
    with sandbox.open("two"):
        remove_finished(sandbox.root, "2")
    assert sorted(path.name for path in sandbox.root.iterdir()) == ["der-one", "der-two", "der-unfinished"]


def test_only_old_state_is_removed_by_age_and_nothing_else(sandbox: Sandbox) -> None:
    old, fresh, begun = (sandbox.make(key) for key in ("old", "fresh", "begun"))
    others = [sandbox.root / name for name in ("photos", "der-photos")]  # the user may keep things there
    for directory in others:
        directory.mkdir()
        (directory / "image.png").touch()
    for path in (old, begun, *others):
        moment = path.stat().st_mtime - MAX_AGE - 60
        os.utime(path, (moment, moment))
    with sandbox.open("begun") as store:  # a run's own state is never too old for it
        assert store.load("phase") is not None
    assert not old.exists() and fresh.exists()
    assert all((directory / "image.png").exists() for directory in others)
