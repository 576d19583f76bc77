"""Processes that work together end together, with one sentence; stages wait for each other, and say so."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import psutil
import pytest

from tests.locations import ROOT
from tests.processes import with_environment

pytestmark = pytest.mark.slow  # torch in several processes

PROGRAM = "tests.pipeline.launch_program"
AGAIN = "run again: it goes on from the last epoch"
MARK = "DER_TEST_LAUNCH"
# Holds the processor until it hears the end of its input; says when.
HOLD = """
import sys, tempfile, torch
from der.pipeline.environment import computing
tempfile.tempdir = sys.argv[2]
with computing(sys.argv[1], torch.device("cpu")):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(*line: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program; neither it nor what it has started may outlive the block."""
    mark = uuid.uuid4().hex
    environment = os.environ | variables | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", MARK: mark}
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(
            [sys.executable, *line],
            cwd=ROOT,
            env=environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        ) as process:
            yield process
        _, alive = psutil.wait_procs(with_environment(MARK, mark), 60)
        assert not alive
    finally:
        for one in with_environment(MARK, mark):
            one.kill()


@pytest.mark.parametrize(
    ("ranks", "what", "sentence"),
    [
        ("0", "stopped", rf"a process has ended, or does not answer \(.+\); {AGAIN}"),
        pytest.param("1", "refuses", "here: wrong; write it", marks=pytest.mark.torture),
        ("", "no interface", ".+ for: nosuch; set GLOO_SOCKET_IFNAME to the network .+"),
    ],
)
def test_what_ends_one_ends_all_in_one_sentence(ranks: str, what: str, sentence: str) -> None:
    """See tests/runs/test_team.py for one that is killed."""
    network = {"GLOO_SOCKET_IFNAME": "nosuch"} if what == "no interface" else {}
    variables = {"DER_PROCESSES": "2", "DER_DEVICE": "cpu"}
    with running("-m", PROGRAM, ranks, what, **variables, **network) as process:
        stdout, stderr = process.communicate()
    assert process.returncode == 1 and "error" not in stdout  # torch 2.10 says who is connected
    assert re.fullmatch(f"error: {sentence}\n", stderr), stderr


@pytest.mark.torture
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_rank_outlives_its_launcher(how: signal.Signals) -> None:
    with running("-m", PROGRAM, "01", "waits", DER_PROCESSES="2", DER_DEVICE="cpu") as process:
        assert process.stdout is not None and process.stderr is not None
        waiting = (line for line in process.stdout if line.endswith("waiting\n"))
        assert len([*islice(waiting, 2)]) == 2
        process.send_signal(how)
        said = process.stderr.read()
    assert process.returncode
    assert said == ("interrupted; the next `dvc repro` goes on from here\n" if how == signal.SIGINT else "")


def test_one_stage_computes_at_a_time_and_who_waits_says_for_whom(tmp_path: Path) -> None:
    def hold(stage: str):  # type: ignore[no-untyped-def]
        return running("-c", HOLD, stage, str(tmp_path), OMP_NUM_THREADS=str(os.cpu_count()))

    with hold("train_task 1") as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with hold("evaluate 2") as second:
            assert second.stdout is not None and second.stderr is not None
            waits = (
                f"evaluate 2: waiting for train_task 1 in {ROOT} (process {first.pid}), which computes here\n"
            )
            assert second.stderr.readline() == waits
            first.kill()  # a lock ends with its process, however it ends
            assert second.stdout.readline() == "held\n"
            assert second.communicate() == ("", "") and second.returncode == 0
