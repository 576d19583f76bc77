"""When a step is captured and when replayed; what a capture does needs CUDA, and stands in test_cuda."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from der.core import ranks
from der.train import capture
from der.train.engine import CapturedStep
from der.train.batches import Batch, take_part
from tests.builders import NO_AUGMENTATION, draws_of


def captures(rank: int, images: int, size: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places of the batches that one of two ranks captures."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(ranks, "_joined", SimpleNamespace(rank=rank, size=2))
    found: list[int] = []
    graph: Any = SimpleNamespace(replay=lambda: None)

    def note(self: CapturedStep, batch: Batch, position: torch.Tensor) -> Any:
        found.append(int(position))
        return graph, (*batch[:-1], position)

    monkeypatch.setattr(capture.CapturedStep, "_capture", note)
    step = CapturedStep(lambda batch, position: None, lambda: [])
    _, pieces = take_part(draws_of(images, NO_AUGMENTATION), size)
    for place, piece in enumerate(pieces):
        own = torch.zeros(piece.own)
        step(Batch(own, own, own, torch.zeros(()), piece.whole), torch.tensor(place))
    return found


@pytest.mark.parametrize("images", [24, 23, 17, 31])
def test_all_ranks_capture_the_same_batches(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 23 the last batch has 7, of which one rank has 3 and the other 4, as many as before."""
    first, second = (captures(rank, images, 8, monkeypatch) for rank in range(2))
    assert first == second == sorted({0, images // 8 if images % 8 else 0})
