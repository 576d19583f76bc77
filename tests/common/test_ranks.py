"""Which errors tell that a rank is lost, and which are to be seen."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed

from der.common import ranks


@pytest.fixture(autouse=True)
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_joined", SimpleNamespace(rank=0, size=2, working=None, meeting=None))


def reduce(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(distributed, "all_reduce", fail)
    ranks.sum_in_place([torch.ones(1)])


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
    with pytest.raises(ranks.LostRank):
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
