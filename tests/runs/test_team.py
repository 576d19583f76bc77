"""DER_PROCESSES and torchrun: the same run by several processes, of which any may be killed."""

import random
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from stages.__main__ import SHARED
from tests.runs.conftest import build_once
from tests.runs.killing import PATIENCE, Started, has_status, rounds, started, wait_for
from tests.runs.lab import Digests, Pipeline, digests

TWO = {"DER_PROCESSES": "2"}
TRAINED = ("data/checkpoints", "data/memory")
MEASURED = (*TRAINED, "metrics/training", "metrics/steps")
EPOCHS = 20
FIRST_STEP = ("train_task@1",)
LAST = ("evaluate@1", "evaluate@2")  # two steps, of which all else is made
SECONDS = "seconds"
STAGES = 6  # of two steps, that several processes work on
SEVERAL = re.compile(rf"^Running stage '((?:{'|'.join(SHARED)})@\d)':$", re.MULTILINE)
TOLD = re.compile(r"^error: .+; run again: it goes on from the last epoch$", re.MULTILINE)
# In one test, of one in four kills that are asked for: stages of several processes take so much longer.
ROUND = 5


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many tests of ROUND kills as a quarter of what --torture asks for."""
    if "kills" in metafunc.fixturenames:
        asked_for = metafunc.config.getoption("torture")
        metafunc.parametrize(("number", "kills"), rounds(-(-asked_for // 4), ROUND))


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


def lengthen(pipeline: Pipeline) -> None:
    """Edit the parameters to phases that last long enough to be killed in; all rebalance."""
    phases = ("base", "incremental", "incremental__classifier")
    pipeline.edit(
        train__incremental__rebalancing="classifier_learning",
        **{f"train__{phase}__epochs": EPOCHS for phase in phases},
        **{f"train__{phase}__learning_rate": 0.01 for phase in phases},
    )


@pytest.fixture(scope="session")
def undisturbed(base: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tuple[Digests, float]:
    """What the stages that two processes work on leave, and the seconds of one."""

    def build(root: Path) -> None:
        pipeline = base.copy_to(root)
        lengthen(pipeline)
        begin = time.monotonic()
        stages = pipeline.repro(*LAST, **TWO).run
        (root / SECONDS).write_text(str((time.monotonic() - begin) / len(stages)))

    root = build_once(tmp_path_factory, "undisturbed team", build)
    return digests(root, MEASURED), float((root / SECONDS).read_text())


def kill_rank(run: Started, draw: random.Random, seconds_of_a_stage: float) -> str | None:
    """Kill a rank at any moment from here on, or soon after an epoch; returns its stage and number."""
    seconds = draw.uniform(0, 1.5 * seconds_of_a_stage)
    if draw.random() < 0.5 and "train_task" in begun(run)[-1]:
        run.wait_for_training()
        seconds = draw.uniform(0, 1)
    with suppress(subprocess.TimeoutExpired):
        run.process.wait(seconds)
    wait_for(lambda: run.ended() or run.processes(*SHARED))
    ranks = run.processes(*SHARED)
    if not ranks:
        return None
    stage, which = begun(run)[-1], draw.randrange(len(ranks))
    ranks[which].kill()
    psutil.wait_procs(ranks, 60)
    assert all(has_status(one, psutil.STATUS_ZOMBIE) for one in ranks)
    return f"{stage} {which}"


def begun(run: Started) -> list[str]:
    """The stages of several processes that have begun, in their order."""
    return SEVERAL.findall(run.printed)


def kill_in_stage(
    pipeline: Pipeline, done: set[str], after: int, draw: random.Random, seconds_of_a_stage: float
) -> str | None:
    """Where a rank of `dvc repro` was killed, with so many stages behind it; ``done`` are those that are."""
    with started(pipeline, "dvc", "repro", *LAST, **TWO) as run:
        wait_for(lambda: run.ended() or (begun(run) and len(done.union(begun(run))) > after))
        where = None if run.ended() else kill_rank(run, draw, seconds_of_a_stage)
        failed = run.process.wait(PATIENCE) != 0  # not if it had done its part
    assert where or not failed, run.printed
    of_a_member = where and not where.endswith(" 0")  # of the first DVC says that it failed
    assert len(TOLD.findall(run.printed)) == bool(failed and of_a_member), f"{where}\n{run.printed}"
    done.update(begun(run)[:-1] if failed else begun(run))
    return where


@pytest.mark.torture
def test_ranks_that_are_killed_at_any_moment(
    number: int, kills: int, base: Pipeline, undisturbed: tuple[Digests, float], tmp_path: Path
) -> None:
    expected, seconds_of_a_stage = undisturbed
    pipeline, draw, done = base.copy_to(tmp_path / "killed"), random.Random(number), set[str]()
    lengthen(pipeline)
    afters = sorted(draw.choices(range(STAGES), k=kills))
    where = [kill_in_stage(pipeline, done, after, draw, seconds_of_a_stage) for after in afters]
    pipeline.repro(*LAST, **TWO)
    assert digests(pipeline.root, MEASURED) == expected
    assert not list(tmp_path.rglob("*.partial"))
    print(f"round {number}: {where}")


@pytest.mark.torture
def test_with_another_number_of_processes_it_begins_anew(pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    lengthen(plain)
    environment = scratch(plain, "killed")
    with started(plain, "dvc", "repro", *FIRST_STEP, **environment) as run:
        run.wait_for_training()
        run.processes(*SHARED)[1].kill()
        assert run.process.wait(60) != 0
    state = shutil.copytree(environment["DER_SCRATCH"], plain.root.with_name("copied"))
    done = plain.command("python", "-m", "stages.train_task", "1", DER_SCRATCH=str(state))
    assert done.returncode == 0
    assert "begins anew; what another device, number of processes" in done.stdout + done.stderr
    assert "going on after epoch" in plain.succeed("dvc", "repro", *FIRST_STEP, **environment)


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5", "9999"])
def test_no_number(text: str, pipeline: Pipeline) -> None:
    done = pipeline.command("python", "-m", "stages.train_task", "1", DER_PROCESSES=text)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: DER_PROCESSES: '{text}' is no number of processes; write 1, 2, ..., or unset it\n"
    )
