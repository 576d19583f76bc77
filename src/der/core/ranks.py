"""Processes that work on one step together, by their ranks; a process is alone unless it has joined others.

Every rank calls the same functions in the same order, and all get the same numbers: sums and lists are made
in the order of the ranks.
"""

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from der.core.errors import UserError

if TYPE_CHECKING:  # torch costs seconds, and who is alone does without
    import torch
    from torch import Tensor
    from torch._C._distributed_c10d import Store
    from torch.distributed import ProcessGroup

T = TypeVar("T")

ANSWER = timedelta(seconds=45)  # after which a rank that does not answer counts as lost
# On cards far more: NCCL counts from when a reduction is queued, which may be behind an epoch of replayed
# steps, and then aborts the process without a word; who watches the processes is to speak first.
ANSWER_ON_CARDS = timedelta(minutes=10)
STARTING = timedelta(minutes=10)  # likewise one of torchrun's that does not come; they start at once
MEETING = timedelta(hours=48)  # until all are there: one may wait for another run of the same step
GONE = re.compile("connection|timed out|timeout|broken pipe", re.IGNORECASE)
SOURCE = re.compile(r"^(\[[^]]*\] *)+")  # a text of Gloo's begins with where in its code it was raised
LOST = "a process of the training has ended, or does not answer"


class LostRank(Exception):
    """A rank has ended or does not answer: nothing that is wrong with the work, and not to be named so."""


class Group(NamedTuple):
    """What this process is among others."""

    rank: int
    size: int
    working: "ProcessGroup"  # soon tired of waiting
    meeting: "ProcessGroup"  # waits


_joined: Group | None = None


def join(rank: int, count: int, device: "torch.device", store: "Store | None" = None) -> None:
    """Be ``rank`` of ``count`` from here on, once all are there; they meet at ``store``, or torchrun's place.

    NCCL on CUDA, Gloo elsewhere. Raises LostRank if one does not come, UserError for a wrong address.
    """
    try:
        _join(rank, count, device.type == "cuda", store)
    except RuntimeError as error:
        if not _is_of_transport(error):
            raise
        reason = SOURCE.sub("", str(error).partition("\n")[0])
        if GONE.search(reason):
            raise LostRank(LOST) from None
        raise UserError(f"the processes cannot reach each other: {reason}") from None


def _join(rank: int, count: int, on_cards: bool, store: "Store | None") -> None:
    global _joined
    import torch.distributed as dist

    if on_cards:  # else NCCL chooses by size and machine, also NVLS, whose sums differ from call to call
        os.environ.setdefault("NCCL_ALGO", "Ring")
    backend, patience = "cpu:gloo,cuda:nccl" if on_cards else "gloo", STARTING if store is None else MEETING
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=patience)
    working = dist.new_group(timeout=ANSWER_ON_CARDS if on_cards else ANSWER)
    meeting = dist.new_group(timeout=MEETING, backend="gloo")
    assert not isinstance(working, int) and not isinstance(meeting, int)  # as for who is in no group
    _joined = Group(rank, count, working, meeting)


def leave() -> None:
    """Be alone again."""
    global _joined
    import torch.distributed as dist

    _joined = None
    dist.destroy_process_group()


def rank() -> int:
    """Which of the processes this is, from 0."""
    return _joined.rank if _joined else 0


def count() -> int:
    """How many processes work together."""
    return _joined.size if _joined else 1


def is_first() -> bool:
    """Whether this is the process that reads and writes what all have in common."""
    return rank() == 0


def part(length: int) -> slice:
    """This process's share of ``length`` things in a row; shares differ by one at most."""
    return slice(length * rank() // count(), length * (rank() + 1) // count())


def meet() -> None:
    """Wait until all have come here, however long it takes."""
    if _joined:
        import torch.distributed as dist

        _answered(dist.barrier, _joined.meeting)


def sum_in_place(tensors: "Sequence[Tensor]") -> None:
    """Replace ``tensors``, all of one dtype, by their sums over the ranks.

    Of the same ranks and tensors the sums have the same bits each time: a ring adds in its order. Raises
    LostRank.
    """
    if _joined is None:
        return
    import torch
    import torch.distributed as dist

    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _answered(dist.all_reduce, flat, group=_joined.working)
    for tensor, total in zip(tensors, flat.split([one.numel() for one in tensors]), strict=True):
        tensor.copy_(total.view(tensor.shape))


def gather(tensor: "Tensor") -> "Tensor":
    """The ranks' ``tensor`` (...), in their order: (ranks, ...). Raises LostRank."""
    if _joined is None:
        return tensor[None]
    import torch
    import torch.distributed as dist

    parts = [torch.empty_like(tensor) for _ in range(_joined.size)]
    _answered(dist.all_gather, parts, tensor.contiguous(), group=_joined.working)
    return torch.stack(parts)


def share(value: T) -> T:
    """What the first rank has for ``value``; raises LostRank."""
    if _joined is None:
        return value
    import torch.distributed as dist

    box = [value]
    _answered(dist.broadcast_object_list, box, src=0, group=_joined.working)
    return box[0]


def _answered(function: Any, *arguments: Any, **named: Any) -> None:
    """Call a function of torch.distributed; raises LostRank for what that raises if a rank is lost."""
    try:
        function(*arguments, **named)
    except RuntimeError as error:
        if not _is_of_transport(error):
            raise
        raise LostRank(LOST) from None


def _is_of_transport(error: RuntimeError) -> bool:
    """Whether it tells of the way to other ranks, and not of this one: Gloo has no errors of its own kind."""
    import torch.distributed as dist

    kinds = (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)
    text = str(error)
    named = "gloo/transport" in text or GONE.search(text) is not None
    return "out of memory" not in text and (isinstance(error, kinds) or named)
