"""Which errors tell that a rank is lost, and which are to be seen; what is asked of torch.distributed."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed

from der.core import distributed
from der.core.errors import UserError

NO_INTERFACE = (
    "[enforce fail at /__w/pytorch/third_party/gloo/gloo/transport/tcp/device.cc:84] ifa != nullptr. "
    "Unable to find address for: nosuch\nException raised from lookup"
)


@pytest.fixture(autouse=True)
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_joined", SimpleNamespace(rank=0, size=2, working=None, meeting=None))


def reduce(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(distributed, "all_reduce", fail)
    distributed.all_reduce([torch.ones(1)])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:9"
        ),
        RuntimeError("Timed out waiting 45000ms for recv operation to complete"),
        RuntimeError("Application timeout caused pair closure"),
        distributed.DistBackendError("NCCL communicator was aborted on rank 1"),
        distributed.DistStoreError("wait timeout after 600000ms, keys: /0"),
    ],
)
def test_a_rank_that_is_gone(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(distributed.LostRank):
        reduce(error, monkeypatch)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        distributed.DistBackendError("ncclUnhandledCudaError: Last error: Cuda failure 2 'out of memory'"),
        RuntimeError("expected all tensors to be on the same device"),
        ValueError("connection"),
    ],
)
def test_what_is_wrong_here_is_seen(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)) as caught:
        reduce(error, monkeypatch)
    assert caught.value is error


def join(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(distributed, "init_process_group", fail)
    distributed.join(0, 2, torch.device("cpu"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Wait timeout"),
        RuntimeError(
            "Gloo connectFullMesh failed with [/gloo/transport/tcp/pair.cc:144] timed out connecting: "
        ),
        RuntimeError("[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:9"),
        distributed.DistStoreError("Timed out after 601 seconds waiting for clients. 1/2 clients joined."),
    ],
)
def test_a_rank_that_does_not_come(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(distributed.LostRank):
        join(error, monkeypatch)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(NO_INTERFACE), "ifa != nullptr. Unable to find address for: nosuch"),
        (distributed.DistNetworkError("No route to host (10.0.0.1, 29500)"), "No route to host .+"),
    ],
)
def test_a_network_that_is_set_up_wrongly(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"^the processes cannot reach each other: {reason}$"):
        join(error, monkeypatch)


def test_what_is_wrong_in_joining_and_not_the_network_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("expected all tensors to be on the same device")
    with pytest.raises(RuntimeError) as caught:
        join(error, monkeypatch)
    assert caught.value is error


@pytest.mark.parametrize("algorithm", [None, "Tree"])
def test_on_cards_sums_have_one_order_and_may_be_queued_for_long(
    algorithm: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = []
    monkeypatch.setenv("NCCL_ALGO", "Tree")  # so that it is put back
    if algorithm is None:
        monkeypatch.delenv("NCCL_ALGO")

    def start(backend: str, **named: Any) -> None:
        assert os.environ["NCCL_ALGO"] == (algorithm or "Ring")

    monkeypatch.setattr(distributed, "init_process_group", start)
    monkeypatch.setattr(distributed, "new_group", lambda **named: patience.append(named["timeout"]))
    distributed.join(0, 2, torch.device("cuda"))
    assert min(patience) == distributed.ANSWER_ON_CARDS
