"""DER_PROCESSES and torchrun: the same run by several processes, of which any may be killed."""

import random
import re
import shutil
import time

import psutil
import pytest

from tests.pipeline.killing import has_status, started, wait_for
from tests.pipeline.lab import Pipeline, digests

TWO = {"DER_PROCESSES": "2"}
TRAINED = ("data/checkpoints", "data/memory")
EPOCHS = 60
FIRST_STEP = ("dvc", "repro", "train_task@1")


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


@pytest.mark.torture
def test_ranks_that_are_killed(pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    plain.edit(train__base__epochs=EPOCHS)
    environment = scratch(plain, "killed")
    draw = random.Random(0)
    for which in (1, 0):
        with started(plain, "dvc", "repro", **environment) as run:
            run.wait_for_training()
            time.sleep(draw.uniform(0, 0.3))
            ranks = sorted(run.trainers(), key=lambda one: one.pid)
            assert len(ranks) == 2
            ranks[which].kill()
            assert run.process.wait(60) != 0
            wait_for(lambda: all(has_status(one, psutil.STATUS_ZOMBIE) for one in ranks))  # noqa: B023
        if which:  # of the first DVC says that it failed
            told = r"^error: .+; run again: it goes on from the last epoch$"
            assert len(re.findall(told, run.printed, re.MULTILINE)) == 1

    another = plain.copy_to(plain.root.with_name("another"))
    state = shutil.copytree(environment["DER_SCRATCH"], plain.root.with_name("copied"))
    done = another.command(*FIRST_STEP, DER_SCRATCH=str(state), DER_PROCESSES="1")
    assert done.returncode == 0
    assert "begins anew with 1 at once; what 2 at once have trained stays there" in done.stdout + done.stderr

    assert "going on after epoch" in plain.succeed(*FIRST_STEP, **environment)
    plain.succeed(*FIRST_STEP[:2], "build_memory@1", **environment)
    goes_on = trained(plain)
    for stage in ("train_task", "build_memory"):
        plain.succeed("python", "-m", f"stages.{stage}", "1", **scratch(plain, "whole"))
    assert trained(plain) == goes_on


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5", "9999"])
def test_no_number(text: str, pipeline: Pipeline) -> None:
    done = pipeline.command("python", "-m", "stages.train_task", "1", DER_PROCESSES=text)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: DER_PROCESSES: '{text}' is no number of processes; write 1, 2, ..., or unset it\n"
    )
