"""A process that hangs or is lost ends all that work with it: one sentence, and nobody stays behind."""

import os
import subprocess
import sys

import psutil
import pytest

from der.common import ranks
from stages import __main__ as all_stages
from tests.locations import ROOT

AGAIN = "run again: it goes on from the last epoch"
COUNT = 3
PROGRAM = "tests.project.team_program"


def members() -> list[psutil.Process]:
    """The processes that run the program."""
    return [one for one in psutil.process_iter(["cmdline"]) if PROGRAM in (one.info["cmdline"] or ())]


def run_with_one_that_hangs(rank: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "DER_PROCESSES": str(COUNT)}
    try:
        return subprocess.run(
            [sys.executable, "-m", PROGRAM, str(rank)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
    finally:
        left = [one for one in members() if one.status() != psutil.STATUS_ZOMBIE]
        for one in left:
            one.kill()
        assert not left


@pytest.mark.parametrize("rank", range(COUNT))
def test_one_that_hangs_ends_all_with_a_sentence(rank: int) -> None:
    done = run_with_one_that_hangs(rank)
    assert done.returncode != 0 and not done.stdout
    others = "a process of the training has ended, or does not answer"
    who = others if rank else "the first process hangs and is ended"
    assert done.stderr == f"error: {who}; {AGAIN}\n"


def test_without_one_that_hangs() -> None:
    done = run_with_one_that_hangs(COUNT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all 100 turns\n", "")


@pytest.mark.parametrize(("rank", "ending"), [(0, f"error: one has ended; {AGAIN}"), (1, 1)])
def test_one_that_is_lost_between_two_stages(
    rank: int, ending: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meet() -> None:
        raise ranks.LostRank("one has ended")

    monkeypatch.setattr(ranks, "meet", meet)
    monkeypatch.setenv("DER_RANK", str(rank))
    with pytest.raises(SystemExit) as end:
        all_stages.meet()
    assert end.value.code == ending
