"""Signs of life, and what is said of a process that gives none or has ended."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from der.pipeline.watching import HAS_SAID, signs_by_files
from torch._C._distributed_c10d import TCPStore

from der.core.errors import UserError
from der.pipeline import stage, watching
from tests.locations import ROOT

AGAIN = "run again: it goes on from the last epoch"
FIRST = """
import os, subprocess, sys
os.environ["DER_PARENT"] = str(os.getpid())
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
# On a machine without psutil.
MEMBER = """
import os, sys, time
sys.modules["psutil"] = None
from der.pipeline.launch import end_with_dvc
end_with_dvc()
print(os.getpid(), flush=True)
sys.stdin.readline()
print("still here", flush=True)
time.sleep(100)
"""


def test_one_that_gives_no_sign_is_lost_after_so_many_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SILENT", 3)
    store = str(tmp_path / "store")
    signs, other = signs_by_files(store, 0, [1, 2]), Path(f"{store}.1")
    found = []
    for turn in range(8):
        other.touch()
        os.utime(other, ns=(min(turn, 5), min(turn, 5)))  # the last sign is that of turn 5
        found.append(signs.exchange())
    assert found == [[], [], *[[2]] * 6]  # who has never been there is lost, too
    assert signs.exchange() == [1, 2]
    other.touch()
    assert signs.exchange() == [2]  # it had been slow


def test_signs_are_seen_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SILENT", 1)
    store = str(tmp_path / "store")
    one, other = signs_by_files(store, 0, [1]), signs_by_files(store, 1, [0])
    assert one.exchange() == [1]
    assert other.exchange() == [] and one.exchange() == []


@pytest.mark.parametrize(
    ("statuses", "silent", "sentence"),
    [
        ([None, None], [], None),
        ([None, 0], [2], None),  # it has done its part
        ([None, -9], [], f"process 2 of 3 (counted from 0) has ended; {AGAIN}"),
        ([None, None], [1], f"process 1 of 3 (counted from 0) does not answer; {AGAIN}"),
        ([HAS_SAID, -9], [], ""),
    ],
)
def test_what_is_said_of_who_is_lost(
    statuses: list[int | None], silent: list[int], sentence: str | None
) -> None:
    others: Any = [SimpleNamespace(poll=lambda status=status: status) for status in statuses]
    signs: Any = SimpleNamespace(exchange=lambda: silent)
    assert watching._find_lost(others, signs) == sentence


def test_a_member_does_without_psutil_hears_no_ctrl_c_and_ends_with_the_first(tmp_path: Path) -> None:
    variables = {"PYTHONPATH": str(ROOT / "src"), "DER_STORE": str(tmp_path / "store"), "DER_RANK": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", FIRST, MEMBER],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdin is not None and first.stdout is not None
        os.kill(int(first.stdout.readline()), signal.SIGINT)
        print(file=first.stdin, flush=True)
        assert first.stdout.readline() == "still here\n"
        first.kill()
        assert first.stdout.read() == ""  # once the member has ended, too


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("here: wrong; write it"), "error: here: wrong; write it\n"),
        (OSError(5, "gone", "x"), "error: x: gone\n"),
    ],
)
def test_what_is_wrong_for_a_member_alone_it_says_itself(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "PATIENCE", 0)
    with pytest.raises(SystemExit) as end, stage.ending_as_member():
        raise error
    assert (end.value.code, capsys.readouterr().err) == (HAS_SAID, said)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    """Torchrun's, of which this process is the first of two."""
    found = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0"}
    for name, text in (variables | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.port)}).items():
        monkeypatch.setenv(name, text)
    return found


def test_under_torchrun_one_that_hangs_is_named(
    store: TCPStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(watching, "SILENT", 4)
    monkeypatch.setattr(watching, "LOOK", 0.01)
    monkeypatch.setattr(watching, "PATIENCE", 0.01)
    monkeypatch.setattr(watching.os, "_exit", lambda status: ended.set())
    store.add("der signs of 1", 1)
    with watching.watching_next():
        assert ended.wait(60)
    assert capsys.readouterr().err == f"error: process 1 of 2 (counted from 0) does not answer; {AGAIN}\n"
    assert store.add("der signs of 0", 0) == 5  # a look with a new sign, and four more


def test_under_torchrun_who_is_done_stops_watching(store: TCPStore) -> None:
    before = threading.active_count()
    with watching.watching_next():
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
