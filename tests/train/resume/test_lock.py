"""One process at a time works in a directory, and nobody removes one that is used or waited for."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest

from der.train.resume import GUARD, HOLDER, remove_unused, working_in
from tests.locations import ROOT
from tests.train.resume.sandbox import Sandbox, keep, make_state, states

HOLD = """
import sys
from pathlib import Path
from der.train.resume import remove_unused
from der.train.resume import StateStore

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
        assert (sandbox.root / "der-key" / HOLDER).read_text() == f"process {second.process.pid}"
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
    assert [path.name for path in sandbox.root.iterdir()] == [GUARD]


def test_only_what_nobody_uses_is_removed(sandbox: Sandbox) -> None:
    with sandbox.open("another key") as other:
        keep(other, 1)
    with sandbox.open() as scratch:
        keep(scratch, 1)
        remove_unused(scratch.directory)
        assert states(scratch) == ["phase-000001.state"]
    remove_unused(scratch.directory)
    remove_unused(scratch.directory)  # not there any more
    assert sandbox.directories() == [other.directory.name]
    assert len(states(other)) == 1


def test_many_that_come_and_go_are_never_in_one_directory_at_once(sandbox: Sandbox) -> None:
    """Each works in the directory and then removes it, as fast as it can."""
    inside, seen = [], []

    def work(index: int) -> None:
        for _ in range(10):
            with working_in(sandbox.root / "der-key", lambda sentence: None):
                inside.append(index)
                (sandbox.root / "der-key" / "file").write_text("x")
                seen.append(len(inside))
                inside.remove(index)
            remove_unused(sandbox.root / "der-key")

    threads = [threading.Thread(target=work, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 40
    assert sandbox.directories() == []


def test_what_the_user_may_not_remove_stays(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with sandbox.open("key") as scratch:
        keep(scratch, 1)
    monkeypatch.setattr("der.train.resume.lock.FileLock.acquire", refuse)
    remove_unused(scratch.directory)
    assert states(scratch) == ["phase-000001.state"]


def test_a_directory_is_not_removed_between_its_making_and_its_lock(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_state(sandbox, "key")
    remover = threading.Thread(target=remove_unused, args=[directory])
    utime = os.utime

    def utime_while_another_removes(path: Path) -> None:
        utime(path)
        monkeypatch.undo()
        remover.start()
        remover.join(0.5)  # time enough, if nothing held it back

    monkeypatch.setattr("der.train.resume.lock.os.utime", utime_while_another_removes)
    with sandbox.open() as scratch:
        remover.join()
        assert states(scratch) == ["phase-000001.state"]
