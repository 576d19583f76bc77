"""Runs take turns on the cores: never too many threads at once, nobody left out, nothing held for ever."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from der.core.cores import turn

from der.core import cores
from der.core.cost import WorkClock
from tests.locations import ROOT
from tests.train.hand import Hand

fcntl = pytest.importorskip("fcntl", reason="no turns on Windows")
living_locks = pytest.importorskip("der.core.living_locks")

CPU = torch.device("cpu")
USABLE_CORES = cores.usable_cores  # as it is, which no test but one calls
LONG = 60.0  # seconds that only a failing test takes
HOLD = """
import sys, tempfile, torch
from der.core import cores, living_locks
living_locks.BEAT = 0.01
tempfile.tempdir = sys.argv[1]
cores.usable_cores = lambda: [0, 1]
torch.set_num_threads(2)
with cores.turn(torch.device("cpu")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of two cores, whose runs have two threads each."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cores, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return tmp_path


def at_once(*runs: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(runs)) as pool:
        for one in [pool.submit(run) for run in runs]:
            one.result(LONG)


def free(place: Path) -> list[str]:
    """The locks that nobody holds."""
    names = []
    for path in sorted(place.glob("der-cores-*/*")):
        with path.open() as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names.append(path.name)
    return names


def test_one_at_a_time() -> None:
    inside: list[int] = []

    def run() -> None:
        for _ in range(20):
            with turn(CPU):
                inside.append(1)
                assert sum(inside) == 1
                inside.append(-1)

    at_once(run, run, run)
    assert len(inside) == 120


def test_as_many_at_once_as_there_are_cores_for(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    both = threading.Barrier(2)

    def run() -> None:
        with turn(CPU):
            both.wait(LONG)  # for the other, which holds its turn
            assert not [name for name in free(place) if name.startswith("core")]
            both.wait(LONG)

    at_once(run, run)


def test_more_threads_than_cores_take_all(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    with turn(CPU):
        assert free(place) == ["line-0-1-2"]
    assert free(place) == ["core-0", "core-1", "line-0-1-2"]


def test_who_has_waited_comes_first(place: Path) -> None:
    order: list[str] = []
    taken = threading.Event()

    def first() -> None:
        with turn(CPU):
            taken.set()
            while free(place):  # until the other stands in line
                pass
            order.append("first")
        with turn(CPU):
            order.append("first again")

    def second() -> None:
        taken.wait(LONG)
        with turn(CPU):
            order.append("second")

    at_once(first, second)
    assert order == ["first", "second", "first again"]


def test_a_turn_is_passed_on_when_it_has_lasted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    taken = threading.Event()

    def first() -> None:
        with turn(CPU) as one:
            taken.set()
            while free(place):  # until the other stands in line
                pass
            one.pass_on()  # too early
            order.append("first")
            monkeypatch.setattr(cores, "SHORTEST", -1)
            one.pass_on()
            order.append("first again")

    def second() -> None:
        taken.wait(LONG)
        with turn(CPU):
            order.append("second")

    monkeypatch.setattr(cores, "SHORTEST", LONG)
    at_once(first, second)
    assert order == ["first", "second", "first again"]


@contextmanager
def another_run(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds both cores until it is killed, in the end at the latest."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    line = [sys.executable, "-c", HOLD, str(place)]
    with subprocess.Popen(
        line, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert free(place) == ["line-0-1-2"]
        end = threading.Timer(LONG, process.kill)
        end.start()
        yield process
        end.cancel()
        process.kill()


def test_a_killed_run_holds_nothing(place: Path) -> None:
    with another_run(place):
        pass
    with turn(CPU):
        assert free(place) == ["line-0-1-2"]


def test_a_stopped_run_is_passed_over_and_others_still_take_turns(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(living_locks, "PATIENCE", 0.2)
    with another_run(place) as process:
        process.send_signal(signal.SIGSTOP)
        with turn(CPU):
            assert process.poll() is None and free(place) == ["line-0-1-2"]
        assert len(free(place)) == 3
        test_one_at_a_time()


def test_who_holds_cores_or_stands_in_line_shows_life(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living_locks, "BEAT", 0.001)
    monkeypatch.setattr(living_locks, "PATIENCE", 1e12)  # the old files are not passed over by who waits

    def other() -> None:
        with turn(CPU):
            pass

    with ThreadPoolExecutor(1) as pool, turn(CPU):
        pool.submit(other)
        while free(place):  # until it stands in line
            pass
        for path in place.glob("der-cores-*/*"):
            os.utime(path, (0, 0))
            end = time.monotonic() + LONG
            while not path.stat().st_mtime:
                assert time.monotonic() < end


def test_life_is_not_shown_for_ever(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living_locks, "BEAT", 0.001)
    monkeypatch.setattr(living_locks, "TRUST", 0.01)
    living_locks._touch([place], threading.Event())  # ends


def test_no_clock_counts_the_time_that_a_run_waits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand, taken = Hand(), threading.Event()
    monkeypatch.setattr("time.perf_counter", hand)

    def first() -> None:
        with turn(CPU):
            taken.set()
            while free(place):  # until the other stands in line
                pass
            hand.now += 100

    def second() -> None:
        taken.wait(LONG)
        clock = WorkClock()
        with turn(CPU):
            hand.now += 1
        assert clock.spent().seconds == 1

    at_once(first, second)


def test_a_turn_within_a_turn(place: Path) -> None:
    with turn(CPU):
        with turn(CPU):
            pass
        assert free(place) == ["line-0-1-2"]


def test_errors_pass_and_end_the_turn(place: Path) -> None:
    with pytest.raises(OSError, match="of the block"), turn(CPU):
        raise OSError("of the block")
    assert len(free(place)) == 3


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users by number")
def test_another_user_s_directory_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "elsewhere").mkdir()
    (place / f"der-cores-{os.getuid()}").symlink_to(place / "elsewhere")
    with turn(CPU):
        assert list((place / "elsewhere").iterdir()) == []
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with turn(CPU):
        assert list((place / "der-cores-12345").iterdir()) == []


def test_a_place_that_cannot_be_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "missing"))
    with turn(CPU):
        assert list(place.iterdir()) == []


def test_where_files_cannot_be_locked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "lock_some", None)
    with turn(CPU):
        assert list(place.iterdir()) == []


def test_what_a_process_has_forked_in_its_turn_keeps_no_lock(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def open_twice(*arguments: Any) -> int:
        opened.append(os.dup(descriptor := usual(*arguments)))  # as a child has what its parent has
        return descriptor

    usual = os.open
    monkeypatch.setattr(os, "open", open_twice)
    with turn(CPU):
        assert free(place) == ["line-0-1-2"]
    assert len(free(place)) == 3
    for descriptor in opened:
        os.close(descriptor)


def test_where_no_thread_can_be_had(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with turn(CPU):
        assert len(free(place)) == 1  # the line's


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000\n", 4), ("250000 100000\n", 2), ("50000 100000\n", 1), ("900000 100000\n", 4), (None, 4)],
)
def test_a_container_s_share_of_the_cores(
    limit: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(cores, "CONTAINER_LIMIT", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 5, 8}, raising=False)
    assert USABLE_CORES() == [1, 3, 5, 8][:expected]


def test_some_of_the_cores_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs three and finds two holds none while it waits: another can have one of them."""
    own = threading.local()  # .cores: of a run, which has as many threads
    monkeypatch.setattr(cores, "usable_cores", lambda: own.cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: len(own.cores))
    last_is_taken, one_is_had = threading.Event(), threading.Event()

    def of_the_last() -> None:
        own.cores = [2]
        with turn(CPU):
            last_is_taken.set()
            one_is_had.wait(LONG)

    def of_all() -> None:
        own.cores = [0, 1, 2]
        last_is_taken.wait(LONG)
        with turn(CPU):
            assert one_is_had.is_set()

    def of_the_first() -> None:
        own.cores = [0]
        last_is_taken.wait(LONG)
        line_of_all = next(Path(tempfile.gettempdir()).glob("der-cores-*")) / "line-0-2-3"
        while not line_of_all.exists() or line_of_all.name in free(Path(tempfile.gettempdir())):
            pass  # until the other waits
        with cores._take():
            one_is_had.set()

    at_once(of_the_last, of_all, of_the_first)


def test_other_devices_take_no_cores(place: Path) -> None:
    with turn(torch.device("meta")):
        assert list(place.iterdir()) == []
