"""DER_PROCESSES and torchrun: the same run by several processes, of which any may be killed."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.pipeline.lab import Pipeline, digests

TWO = {"DER_PROCESSES": "2"}
TRAINED = ("data/checkpoints", "data/memory")
EPOCHS = 60


def trained(pipeline: Pipeline) -> dict[str, str]:
    """What training and building memory left."""
    return digests(pipeline.root, TRAINED)


def scratch(pipeline: Pipeline, name: str) -> dict[str, str]:
    """An environment with training state of its own, so that nothing is taken over from other runs."""
    return TWO | {"DER_SCRATCH": str(pipeline.root.parent / name)}


def test_by_dvc_and_by_torchrun(pipeline: Pipeline) -> None:
    alone = trained(pipeline)
    pipeline.edit(train__seed=1)  # else DVC has it in its cache
    pipeline.succeed("dvc", "repro", **scratch(pipeline, "one"))
    first = trained(pipeline)
    assert set(first) == set(alone)
    launcher = ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    pipeline.succeed(*launcher, "-m", "stages", **scratch(pipeline, "third"), OMP_NUM_THREADS="1")
    assert trained(pipeline) == first


@contextmanager
def running(pipeline: Pipeline, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`dvc repro` in the background."""
    line = [pipeline.python, "-m", "dvc", "repro"]
    environment = pipeline.environment() | environment
    with subprocess.Popen(
        line, cwd=pipeline.root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train below a dvc: the first, then those that it has started."""
    found = [one for one in psutil.Process(process.pid).children(recursive=True) if trains(one)]
    return sorted(found, key=lambda one: one.pid)


def trains(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "stages.train_task" in words and "sh" not in os.path.basename(words[0])


def end_one(process: subprocess.Popen[str], which: int, signum: int, delay: float) -> str:
    """Send a signal to a rank once both are there; all end within a minute; returns what the run said."""
    while len(found := ranks_of(process)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(delay)
    try:
        found[which].send_signal(signum)
        _, said = process.communicate(timeout=60)
    finally:
        for one in found:
            if one.is_running():
                one.kill()
    return said


@pytest.mark.parametrize("which", [0, 1], ids=["the first", "the other"])
def test_a_rank_that_is_killed(which: int, pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    plain.edit(train__base__epochs=EPOCHS)
    environment = scratch(plain, "killed")
    delay = 3 + 3 * random.Random(which).random()
    with running(plain, **environment) as process:
        said = end_one(process, which, signal.SIGKILL, delay)
    assert process.returncode != 0
    if which:  # of the first DVC says that it failed
        assert (
            len(re.findall(r"^error: .+; run again: it goes on from the last epoch$", said, re.MULTILINE))
            == 1
        )
    plain.succeed("dvc", "repro", **environment)
    whole = trained(plain)
    plain.succeed("python", "-m", "stages", **scratch(plain, "whole"))
    assert trained(plain) == whole


def test_another_number_begins_anew(pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    plain.edit(train__base__epochs=EPOCHS)
    environment = scratch(plain, "killed")
    with running(plain, **environment) as process:
        end_one(process, 1, signal.SIGKILL, 5)
    done = plain.command("dvc", "repro", "train_task@1", **environment | {"DER_PROCESSES": "1"})
    assert done.returncode == 0
    assert "begins anew with 1 at once; what 2 at once have trained stays there" in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5", "9999"])
def test_no_number(text: str, pipeline: Pipeline) -> None:
    done = pipeline.command("python", "-m", "stages.train_task", "1", DER_PROCESSES=text)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: DER_PROCESSES: '{text}' is no number of processes; write 1, 2, ..., or unset it\n"
    )
