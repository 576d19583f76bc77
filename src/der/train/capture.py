"""Train steps as CUDA graphs: captured once, then replayed without Python."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from der.core.randomness import keeping_own
from der.train.feed import Batch

Captured = tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...]]  # and the tensors that it reads


class TrainBatch(Protocol):
    """One step of gradient descent on a batch; ``position`` goes from 0 to 1 over an epoch."""

    def __call__(self, batch: Batch, position: Tensor) -> None: ...


class CapturedStep:
    """Replays ``train_batch`` as a CUDA graph, one for every number of images of a whole batch.

    The last partial batch has a graph of its own: padding it would corrupt the batch statistics. Of several
    ranks all capture it, also one whose part is as large as before: a capture reduces more often than a
    replay.
    ``state`` lists every tensor that a step changes. Call ``release`` when done, before others capture.
    """

    def __init__(self, train_batch: TrainBatch, state: Callable[[], Iterable[Tensor]]) -> None:
        self.train_batch = train_batch
        self.state = state
        self.graphs: dict[int, Captured] = {}
        # One for warm-up and capture: autograd's nodes and cuBLAS's workspaces belong to a stream, and a
        # graph that is freed takes the workspaces of its stream along.
        self.stream = torch.cuda.Stream()

    def __call__(self, batch: Batch, position: Tensor) -> None:
        if batch.whole not in self.graphs:
            self.graphs[batch.whole] = self._capture(batch, position)
        graph, inputs = self.graphs[batch.whole]
        for place, tensor in zip(inputs, (*batch[:-1], position), strict=True):
            place.copy_(tensor)
        graph.replay()

    def _capture(self, batch: Batch, position: Tensor) -> Captured:
        given = (*batch[:-1], position)
        inputs = tuple(tensor.clone(memory_format=torch.preserve_format) for tensor in given)
        images, frozen, labels, share, place = inputs
        own = Batch(images, frozen, labels, share, batch.whole)
        drawing = keeping_own(torch.device("cuda"))  # a resumed epoch captures anew, and draws the same
        with drawing, _unchanged(self.state()):
            # Compiles kernels and makes handles, which a capture must not; it trains, so it is undone.
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                for _ in range(2):
                    self.train_batch(own, place)
            torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with _no_collection(), torch.cuda.graph(graph, stream=self.stream):
            self.train_batch(own, place)
        return graph, inputs

    def release(self) -> None:
        """Free the graphs and their memory."""
        self.graphs.clear()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector from freeing another graph in the block, which would end its capture."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _unchanged(state: Iterable[Tensor]) -> Iterator[None]:
    """Undo, in place, whatever the block does to the tensors."""
    tensors = list(state)
    before = [tensor.detach().clone() for tensor in tensors]
    yield
    with torch.no_grad():
        for tensor, old in zip(tensors, before, strict=True):
            tensor.copy_(old)
