"""A process that hangs or is lost ends all that work with it: one sentence, and nobody stays behind."""

import os
import re
import subprocess
import sys
import uuid

import pytest
import torch

from der.core import distributed
from der.pipeline import stage, team, watching
from der.pipeline.environment import PARENT
from stages import __main__ as all_stages
from tests.locations import ROOT
from tests.processes import with_environment

AGAIN = "run again: it goes on from the last epoch"
FIRST_HANGS = f"error: the first process hangs and is ended; {AGAIN}\n"
PROGRAM = "tests.pipeline.team_program"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
MARK = "DER_TEST_TEAM"


def run(*line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A module that starts others; none of them may outlive it."""
    mark = uuid.uuid4().hex
    environment = os.environ | variables | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", MARK: mark}
    try:
        return subprocess.run(
            [sys.executable, "-m", *line],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
    finally:
        left = with_environment(MARK, mark)  # of this test: others run the program, too
        for one in left:
            one.kill()
        assert not left


def run_with_one_that_hangs(
    rank: int, place: str, count: int = 2, **variables: str
) -> subprocess.CompletedProcess[str]:
    return run(PROGRAM, str(rank), place, DER_PROCESSES=str(count), **variables)


def run_by_torchrun(killed: str) -> subprocess.CompletedProcess[str]:
    program = "tests.pipeline.torchrun_program"
    return run(*TORCHRUN, "-m", program, killed, DER_DEVICE="cpu", OMP_NUM_THREADS="1")


@pytest.mark.parametrize(
    ("rank", "place", "count"),
    [(1, "start", 2), (0, "work", 3), (1, "work", 3), (0, "meeting", 2), (1, "meeting", 2)],
)
def test_one_that_hangs_ends_all_with_a_sentence(rank: int, place: str, count: int) -> None:
    done = run_with_one_that_hangs(rank, place, count)
    assert done.returncode != 0 and not done.stdout
    if rank == 0:
        assert done.stderr == FIRST_HANGS
    else:  # the thread that watches finds it, or a reduction that waits for it
        who = rf"process 1 of {count} \(counted from 0\) does not answer|a process of .+ does not answer"
        assert re.fullmatch(f"error: ({who}); {AGAIN}\n", done.stderr)


@pytest.mark.parametrize("rank", [1, 2], ids=["one that hangs when all is done", "none that hangs"])
def test_all_is_done(rank: int) -> None:
    done = run_with_one_that_hangs(rank, "end")
    assert (done.returncode, done.stdout, done.stderr) == (0, "all is done\n", "")


def test_a_network_that_is_set_up_wrongly_is_no_process_that_is_lost() -> None:
    done = run_with_one_that_hangs(2, "none", GLOO_SOCKET_IFNAME="nosuch")
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch("error: .+ for: nosuch; set GLOO_SOCKET_IFNAME to .+\n", done.stderr)


def test_within_a_minute() -> None:
    silence = watching.SILENT * watching.LOOK
    assert max(distributed.ANSWER.total_seconds(), silence) + max(watching.PATIENCE, watching.NAMING) < 60
    assert distributed.ANSWER_ON_CARDS.total_seconds() > 120  # whoever is silent has been named before


@pytest.mark.parametrize(("rank", "status"), [(0, f"error: one has ended; {AGAIN}"), (1, watching.HAS_SAID)])
def test_one_that_is_lost_between_two_stages(
    rank: int, status: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meet() -> None:
        raise distributed.LostRank("one has ended")

    monkeypatch.setattr(distributed, "barrier", meet)
    monkeypatch.setattr(stage, "PATIENCE", 0)
    monkeypatch.setenv("DER_RANK", str(rank))
    monkeypatch.delenv(PARENT, raising=False)
    with pytest.raises(SystemExit) as end:
        all_stages.meet()
    assert end.value.code == status


def test_torchrun_s_only_process_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1", "RANK": "0"}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(distributed, "join", None)
    for step in "12":
        with team.team(("stages.train_task", step), torch.device("cpu")):
            assert distributed.world_size() == 1


def test_work_begins_when_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun the first may wait for another run of the same step while the others are there."""
    done = []
    for name, text in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)  # joined
    monkeypatch.setattr(distributed, "barrier", lambda: done.append("met"))
    with team.team(("stages.train_task", "1"), torch.device("cpu")):
        done.append("worked")
    assert done == ["met", "worked"]


def test_under_torchrun_all_leave_in_the_end() -> None:
    done = run_by_torchrun("none")
    assert (done.returncode, done.stdout) == (0, "left\nleft\n")
    assert not done.stderr


def test_under_torchrun_one_that_is_killed_ends_all_and_torchrun_names_it() -> None:
    done = run_by_torchrun("0")
    assert done.returncode and not done.stdout
    first = done.stderr.partition("Root Cause")[2]
    assert re.search(r"rank +: 0 .+\n +exitcode +: -9 .+SIGKILL", first)
