"""DER_PROCESSES and torchrun: the same run by several processes, of which any may be killed."""

import random
import re
import shutil
import time
from pathlib import Path

import psutil
import pytest

from der.pipeline.stage import SHARED
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
SEVERAL = re.compile(rf"^Running stage '((?:{'|'.join(SHARED)})@\d)':$", re.MULTILINE)
KILLED = (
    "error: process {} of 2 (counted from 0) was ended by SIGKILL; run again: it goes on from the last epoch"
)
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


def lengthen(pipeline: Pipeline) -> None:
    """Edit the parameters to phases that last long enough to be killed in; all rebalance."""
    phases = ("base", "incremental", "incremental__classifier")
    pipeline.edit(
        train__incremental__rebalancing="classifier_learning",
        **{f"train__{phase}__epochs": EPOCHS for phase in phases},
        **{f"train__{phase}__learning_rate": 0.01 for phase in phases},
    )


def find_ranks(run: Started) -> dict[int, psutil.Process]:
    """The processes that the launcher has started, by rank."""
    found = {}
    for process in run.processes(*SHARED):
        try:
            found[int(process.environ()["RANK"])] = process
        except (psutil.Error, KeyError):  # the launcher has none
            continue
    return found


def test_by_dvc_and_by_torchrun(pipeline: Pipeline) -> None:
    alone = trained(pipeline)
    pipeline.edit(train__seed=1)  # else DVC has it in its cache
    pipeline.succeed("dvc", "repro", **scratch(pipeline, "one"))
    first = trained(pipeline)
    assert set(first) == set(alone)
    launcher = ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    pipeline.succeed(*launcher, "-m", "stages", **scratch(pipeline, "third"), OMP_NUM_THREADS="1")
    assert trained(pipeline) == first


def test_one_that_is_killed_ends_all_and_the_next_run_goes_on(pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    lengthen(plain)
    environment = scratch(plain, "killed")
    with started(plain, "dvc", "repro", *FIRST_STEP, **environment) as run:
        run.wait_for_training()
        ranks = find_ranks(run)
        ranks[1].kill()
        assert run.process.wait(PATIENCE) != 0
        psutil.wait_procs([*ranks.values()], PATIENCE)
        assert all(has_status(one, psutil.STATUS_ZOMBIE) for one in ranks.values())
    assert run.printed.count("error: ") == 1 and KILLED.format(1) in run.printed.splitlines()
    assert "Traceback" not in run.printed
    # With another number of processes it begins anew.
    state = shutil.copytree(environment["DER_SCRATCH"], plain.root.with_name("copied"))
    done = plain.command("python", "-m", "stages.train_task", "1", DER_SCRATCH=str(state))
    assert done.returncode == 0
    assert "begins anew; what another device, number of processes" in done.stdout + done.stderr
    assert "going on after epoch" in plain.succeed("dvc", "repro", *FIRST_STEP, **environment)


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


def kill_rank(pipeline: Pipeline, draw: random.Random, longest: float) -> str | None:
    """Kill a rank of `dvc repro` at a random moment; returns its stage and number."""
    with started(pipeline, "dvc", "repro", *LAST, **TWO) as run:
        wait_for(lambda: run.ended() or SEVERAL.search(run.printed))
        end = time.monotonic() + draw.uniform(0, longest)
        wait_for(lambda: run.ended() or (time.monotonic() > end and len(find_ranks(run)) == 2))
        if not (ranks := find_ranks(run)):
            assert run.process.wait(PATIENCE) == 0, run.printed
            return None
        stage, which = SEVERAL.findall(run.printed)[-1], draw.choice(sorted(ranks))
        ranks[which].kill()
        failed = run.process.wait(PATIENCE) != 0  # not if it had done its part
        psutil.wait_procs([*ranks.values()], PATIENCE)
        assert all(has_status(one, psutil.STATUS_ZOMBIE) for one in ranks.values())
    assert run.printed.count(KILLED.format(which)) == failed, f"{stage} {which}\n{run.printed}"
    return f"{stage} {which}"


@pytest.mark.torture
def test_ranks_that_are_killed_at_any_moment(
    number: int, kills: int, base: Pipeline, undisturbed: tuple[Digests, float], tmp_path: Path
) -> None:
    expected, seconds_of_a_stage = undisturbed
    pipeline, draw = base.copy_to(tmp_path / "killed"), random.Random(number)
    lengthen(pipeline)
    where = [kill_rank(pipeline, draw, 4 * seconds_of_a_stage) for _ in range(kills)]
    pipeline.repro(*LAST, **TWO)
    assert digests(pipeline.root, MEASURED) == expected
    assert not list(tmp_path.rglob("*.partial"))
    print(f"round {number}: {where}")
