"""Barriers and reductions over the processes that work on one step; without ``join`` a process is alone.

Every rank calls the same functions in the same order, and gets the same numbers.
"""

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from der.core.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to import, and a single process does not need it
    import torch
    from torch import Tensor
    from torch._C._distributed_c10d import Store
    from torch.distributed import ProcessGroup

T = TypeVar("T")

ANSWER = timedelta(seconds=45)  # after which a rank that does not answer counts as lost
# Far longer on GPUs: NCCL counts from the queueing of a reduction, maybe behind an epoch of replayed steps.
ANSWER_ON_GPUS = timedelta(minutes=10)
STARTING = timedelta(minutes=10)  # for all ranks to join
WAITING = timedelta(hours=48)  # at a barrier: rank 0 may wait for another run
SOURCE = re.compile(r"^(\[[^]]*\] *)+")  # a text of Gloo begins with where in its code it was raised


class LostRank(Exception):
    """Another rank has ended or does not answer; this rank's work is correct."""


class Group(NamedTuple):
    """This process's rank, and the two process groups that it uses."""

    rank: int
    size: int
    working: "ProcessGroup"  # with time-outs of ANSWER
    waiting: "ProcessGroup"  # of WAITING


_group: Group | None = None


def join(rank: int, size: int, device: "torch.device", store: "Store | None" = None) -> None:
    """Join the others as ``rank`` of ``size`` by NCCL or Gloo, at ``store`` or at torchrun's address."""
    global _group
    import torch.distributed as dist

    on_gpus = device.type == "cuda"
    if on_gpus:  # else NCCL may choose NVLS by size and machine, whose sums differ from call to call
        os.environ.setdefault("NCCL_ALGO", "Ring")
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STARTING)
        working = dist.new_group(timeout=ANSWER_ON_GPUS if on_gpus else ANSWER)
        waiting = dist.new_group(timeout=WAITING, backend="gloo")
    except RuntimeError as error:
        raise UserError(f"the processes cannot reach each other: {_reason(error)}") from None
    assert not isinstance(working, int) and not isinstance(waiting, int)  # as for ranks outside a group
    _group = Group(rank, size, working, waiting)


def leave() -> None:
    global _group
    import torch.distributed as dist

    _group = None
    dist.destroy_process_group()


def rank() -> int:
    return _group.rank if _group else 0


def world_size() -> int:
    return _group.size if _group else 1


def shard(length: int) -> slice:
    """Return this rank's shard of ``length`` consecutive items; shards differ by at most one item."""
    return slice(length * rank() // world_size(), length * (rank() + 1) // world_size())


def barrier() -> None:
    """Wait, without a time limit, until all ranks have reached this call; raises LostRank."""
    if _group:
        _call("barrier", _group.waiting)


def all_reduce(tensors: "Sequence[Tensor]") -> None:
    """Replace ``tensors`` of one dtype by their sums over the ranks, with the same bits each time."""
    if _group is None:
        return
    import torch

    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _call("all_reduce", flat, group=_group.working)
    for tensor, total in zip(tensors, flat.split([one.numel() for one in tensors]), strict=True):
        tensor.copy_(total.view(tensor.shape))


def all_gather(tensor: "Tensor") -> "Tensor":
    """Stack the ranks' ``tensor`` (...), in their order: (ranks, ...). Raises LostRank."""
    if _group is None:
        return tensor[None]
    import torch

    parts = [torch.empty_like(tensor) for _ in range(_group.size)]
    _call("all_gather", parts, tensor.contiguous(), group=_group.working)
    return torch.stack(parts)


def broadcast(value: T) -> T:
    """Return rank 0's ``value`` on every rank; raises LostRank."""
    if _group is None:
        return value
    box = [value]
    _call("broadcast_object_list", box, src=0, group=_group.working)
    return box[0]


def _call(function: str, *arguments: Any, **named: Any) -> None:
    """Call a function of torch.distributed and turn its many RuntimeErrors into LostRank."""
    import torch.distributed as dist

    try:
        getattr(dist, function)(*arguments, **named)
    except RuntimeError as error:
        raise LostRank(f"a process has ended, or does not answer ({_reason(error)})") from None


def _reason(error: RuntimeError) -> str:
    return SOURCE.sub("", str(error).partition("\n")[0])
