"""Training that is killed goes on from its last finished epoch, and ends with the same bytes."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.runs.conftest import build_once
from tests.runs.killing import Started, has_status, started, wait_for
from tests.runs.lab import Digests, Pipeline, digests

COMPARED = ("data/checkpoints", "data/memory", "metrics/steps", "metrics/training")
MEASURED = ("evaluate@1", "evaluate@2")  # of which all that is compared is made
FIRST_STEP = ("data/checkpoints/1/", "metrics/training/1/")
TRAIN = ("stages.train_task", "1")
EPOCHS = 40
GOING_ON = "going on after epoch"


def lengthen(pipeline: Pipeline) -> None:
    """Edit the parameters to phases that last long enough to be killed in."""
    pipeline.edit(
        **{f"train__{phase}__epochs": EPOCHS for phase in ("base", "incremental")},
        **{f"train__{phase}__learning_rate": 0.01 for phase in ("base", "incremental")},
    )


def compared(pipeline: Pipeline) -> Digests:
    """Results of training and what is made of them."""
    return digests(pipeline.root, COMPARED)


@pytest.fixture(scope="session")
def uninterrupted(base: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Digests:
    """The results of the longer phases."""

    def build(root: Path) -> None:
        pipeline = base.copy_to(root)
        lengthen(pipeline)
        pipeline.repro(*MEASURED)

    return compared(replace(base, root=build_once(tmp_path_factory, "uninterrupted", build)))


@pytest.fixture
def long(pipeline: Pipeline) -> Pipeline:
    """A pipeline to work on, whose training is still to be done."""
    lengthen(pipeline)
    return pipeline


def scratch(pipeline: Pipeline) -> Path:
    return Path(pipeline.environment()["DER_SCRATCH"])


def states(pipeline: Pipeline) -> list[Path]:
    """The files of training state."""
    return sorted(scratch(pipeline).glob("der-*/*state"))


def finished(pipeline: Pipeline) -> list[Path]:
    """The marks of trainings whose results are there."""
    return list(scratch(pipeline).glob("der-*/finished"))


@contextmanager
def stopped_in_training(pipeline: Pipeline, *line: str) -> Iterator[tuple[Started, psutil.Process]]:
    """A command whose train_task@1 is suspended with state written; again if it is done before."""
    caught = False
    while not caught:
        with started(pipeline, *line) as command:
            wait_for(lambda: command.ended() or states(pipeline))
            for trainer in command.trainers():
                with suppress(psutil.NoSuchProcess):
                    trainer.suspend()
                wait_for(lambda: has_status(trainer, psutil.STATUS_STOPPED))  # noqa: B023
                caught = bool(states(pipeline)) and not finished(pipeline)
                if caught:
                    yield command, trainer
        if not caught:
            shutil.rmtree(scratch(pipeline), ignore_errors=True)  # else it would go on from its end


def assert_same(pipeline: Pipeline, expected: Digests, *starts: str) -> None:
    """The results whose paths start so have the bytes of the uninterrupted run."""
    wanted = {path: digest for path, digest in expected.items() if path.startswith(starts)}
    assert wanted
    assert {path: one for path, one in compared(pipeline).items() if path.startswith(starts)} == wanted


def assert_nothing_left(pipeline: Pipeline) -> None:
    """The stage after training finds nothing left of it to go on from."""
    assert len(finished(pipeline)) == 1
    pipeline.succeed("python", "-m", "stages.build_memory", "1")
    assert [path for path in scratch(pipeline).iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("between", [False, pytest.param(True, marks=pytest.mark.torture)])
def test_training_does_not_outlive_dvc(between: bool, long: Pipeline) -> None:
    long.edit(train__base__epochs=10**6)  # more than it can finish before it notices
    shell = long.root.parent / "shell"  # DVC runs commands in it
    shell.write_text('#!/bin/sh\n/bin/sh "$@"\nexit $?\n')
    shell.chmod(0o755)
    target = ("dvc", "repro", "train_task@1")
    with started(long, *target, **({"SHELL": str(shell)} if between else {})) as repro:
        wait_for(lambda: states(long))
        (trainer,) = repro.trainers()
        repro.process.kill()
        repro.process.wait()
        wait_for(lambda: has_status(trainer, psutil.STATUS_ZOMBIE))
    if not between:
        with started(long, *target) as again:
            again.wait_for_training()
        assert GOING_ON in again.printed


def test_a_finished_step_is_not_trained_again(long: Pipeline, uninterrupted: Digests) -> None:
    # As a dvc leaves it that is killed after the step's results are there, before it has taken them over.
    long.succeed("python", "-m", *TRAIN)
    again = long.succeed("dvc", "repro", *MEASURED)
    first = re.findall(r"^train_task 1, .*: (.*)$", again, re.MULTILINE)
    assert first == [f"{GOING_ON} {EPOCHS} of {EPOCHS}"]
    assert_same(long, uninterrupted, *COMPARED)
    assert [path for path in scratch(long).iterdir() if path.is_dir()] == []


def test_what_a_kill_left_serves_the_same_training_only(long: Pipeline, uninterrupted: Digests) -> None:
    with stopped_in_training(long, *TRAIN) as (command, _):
        command.kill()
    left, copy = states(long), long.root.with_name("copy")
    shutil.copytree(scratch(long), copy)
    long.edit(train__base__momentum=0.5)
    assert GOING_ON not in long.succeed("python", "-m", *TRAIN)
    long.succeed("python", "-m", "stages.build_memory", "1")
    assert states(long) == left
    # Nor is it lost: with the old ones, and others that train_task@1 does not depend on, it serves.
    long.edit(train__base__momentum=0.9, train__incremental__momentum=0.5, memory__budget=6)
    assert GOING_ON in long.succeed("python", "-m", *TRAIN)
    assert_same(long, uninterrupted, *FIRST_STEP)
    assert_nothing_left(long)

    # Damaged, it is set aside.
    shutil.copytree(copy, scratch(long), dirs_exist_ok=True)
    for state in left:
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    done = long.command("python", "-m", *TRAIN)
    assert done.returncode == 0 and GOING_ON not in done.stdout
    assert re.search(
        f"^warning: {re.escape(str(left[-1]))}: damaged, set aside; .*$", done.stderr, re.MULTILINE
    )
    assert_same(long, uninterrupted, *FIRST_STEP)
    assert_nothing_left(long)
