"""docs/scale.md on a real Slurm: a chain on two nodes, killed as it trains; the bytes of two processes."""

from pathlib import Path

import pytest

from tests.cluster.jobs import (
    RESULTS,
    clone_plain,
    epochs_gone_on_after,
    read_log,
    submit,
    trains,
    wait_for,
)
from tests.cluster.slurm import NODES, ask, wait_until
from tests.runs.lab import Pipeline, digests
from tests.runs.pages import blocks

EPOCHS = 60  # of the first step: seconds, in which the job can be killed

(SUBMIT,) = blocks("docs/scale.md", "A chain on several nodes")

pytestmark = pytest.mark.slurm


def test_two_nodes_and_a_requeue(
    cluster: None, origin: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # the nodes are this machine
    origin.edit(train__base__epochs=EPOCHS)
    origin.commit("A short chain")
    shared = tmp_path / "shared"
    job = submit(origin, shared, SUBMIT.replace(" 8 /shared", " 1 /shared"))
    wait_until(lambda: trains(shared))
    ask("scancel", "--batch", "--signal=USR1", str(job))  # as Slurm itself, before the time limit
    wait_for(job)

    said = read_log(origin, f"der-chain-{job}")
    assert any(0 < epoch < EPOCHS for epoch in epochs_gone_on_after(said, EPOCHS)), said
    plain = clone_plain(origin, tmp_path / "plain")
    plain.repro(DER_SCRATCH=str(tmp_path / "other"), DER_PROCESSES=str(len(NODES)))
    assert digests(shared / "chain", RESULTS) == digests(plain.root, RESULTS), said
    assert "chain" in origin.succeed("dvc", "exp", "list", "--all-commits")
