"""DER_PROCESSES and torchrun: the same run by several processes, of which any may be killed."""

import shutil

import psutil
import pytest

from tests.runs.killing import PATIENCE, Started, has_status, started
from tests.runs.lab import Pipeline, digests

TRAINED = ("data/checkpoints/1", "metrics/training/1")
KILLED = (
    "error: process 1 of 2 (counted from 0) was ended by SIGKILL; run again: it goes on from the last epoch"
)


def scratch(pipeline: Pipeline, name: str) -> dict[str, str]:
    """An environment for two processes, with training state of its own."""
    return {"DER_PROCESSES": "2", "DER_SCRATCH": str(pipeline.root.parent / name)}


def find_ranks(run: Started) -> dict[int, psutil.Process]:
    """The processes that the launcher has started, by rank."""
    found = {}
    for process in run.trainers():
        try:
            found[int(process.environ()["RANK"])] = process
        except (psutil.Error, KeyError):  # the launcher has none
            continue
    return found


@pytest.mark.torture
def test_one_that_is_killed_ends_all_and_the_next_goes_on_to_torchrun_s_bytes(pipeline: Pipeline) -> None:
    plain = pipeline.plain()
    plain.edit(train__base__epochs=20, train__base__learning_rate=0.01)  # long enough to be killed in
    environment = scratch(plain, "killed")
    train = ("dvc", "repro", "train_task@1")
    with started(plain, *train, **environment) as run:
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
    done = pipeline.command("python", "-m", "stages.train_task", "1", DER_SCRATCH=str(state))
    assert done.returncode == 0 and "going on after epoch" not in done.stdout
    assert "going on after epoch" in plain.succeed(*train, **environment)

    gone_on = digests(plain.root, TRAINED)
    launcher = ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    plain.succeed(*launcher, "-m", "stages", **scratch(plain, "other"), OMP_NUM_THREADS="1")
    assert digests(plain.root, TRAINED) == gone_on
