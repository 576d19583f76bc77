"""DER_PROCESSES and torchrun: the same run by several processes, of which any may be killed."""

import shutil

import psutil

from der.pipeline.stage import SHARED
from tests.runs.killing import PATIENCE, Started, has_status, started
from tests.runs.lab import Pipeline, digests

TWO = {"DER_PROCESSES": "2"}
TRAINED = ("data/checkpoints", "data/memory")
FIRST_STEP = ("train_task@1",)
KILLED = (
    "error: process 1 of 2 (counted from 0) was ended by SIGKILL; run again: it goes on from the last epoch"
)


def trained(pipeline: Pipeline) -> dict[str, str]:
    """What training and building memory left."""
    return digests(pipeline.root, TRAINED)


def scratch(pipeline: Pipeline, name: str) -> dict[str, str]:
    """An environment with training state of its own, so that nothing is taken over from other runs."""
    return TWO | {"DER_SCRATCH": str(pipeline.root.parent / name)}


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
    pipeline.repro("build_memory@2", **scratch(pipeline, "one"))
    first = trained(pipeline)
    assert set(first) == set(alone)
    launcher = ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    pipeline.succeed(*launcher, "-m", "stages", **scratch(pipeline, "third"), OMP_NUM_THREADS="1")
    assert trained(pipeline) == first


def test_one_that_is_killed_ends_all_and_the_next_run_goes_on(pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    plain.edit(train__base__epochs=20, train__base__learning_rate=0.01)  # long enough to be killed in
    environment = scratch(plain, "killed")
    with started(plain, "dvc", "repro", *FIRST_STEP, **environment) as run:
        run.wait_for_training()
        ranks = find_ranks(run)
        ranks[1].kill()
        assert run.process.wait(PATIENCE) != 0
        psutil.wait_procs([*ranks.values()], PATIENCE)
        assert all(has_status(one, psutil.STATUS_ZOMBIE) for one in ranks.values())
    assert run.printed.count("error: ") == 1 and KILLED in run.printed.splitlines()
    assert "Traceback" not in run.printed
    # With another number of processes it begins anew.
    state = shutil.copytree(environment["DER_SCRATCH"], plain.root.with_name("copied"))
    done = plain.command("python", "-m", "stages.train_task", "1", DER_SCRATCH=str(state))
    assert done.returncode == 0
    assert "begins anew; what another device, number of processes" in done.stdout + done.stderr
    assert "going on after epoch" in plain.succeed("dvc", "repro", *FIRST_STEP, **environment)
