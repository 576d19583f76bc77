"""Whether both programs compute the same from the same weights and batches: all but their draws is compared.

PyCIL starts every step from our first weights and is given our batches; then the weights that its own loop,
optimiser, schedule and weight alignment make of them are compared with ours, and so are the exemplars chosen.

# B batch, C channels, H and W pixels
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional

from bench.pycil.contenders import CONTENDERS, Job
from bench.pycil.images import read_images
from bench.pycil.theirs import exchange, load_pycil, make_learner, make_manager
from bench.pycil.tracing import Trace, change_images, trace


class Difference(NamedTuple):
    """After a step; of weights the largest difference, over the largest change that training made."""

    step: int  # counted from 1
    what: str
    value: float


def compare(checkout: Path, job: Job) -> Iterator[Difference]:
    """The differences after every step of the plan, each step from our weights and exemplars anew.

    On the CPU, and once in a process: afterwards it computes in float64.
    """
    yield compare_changes(job)
    traces = trace(job)
    first = next(traces)  # from here on PyCIL computes in float64, too
    pycil = load_pycil(checkout)
    exchange(pycil, CONTENDERS["pycil"], job.plan, job.directory, lambda _: None)
    manager, learner = make_manager(pycil, job.plan), make_learner(pycil, job.plan, "cpu")
    train = learner._train
    for step, ours in enumerate(chain([first], traces), start=1):

        def train_as_ours(_: Any, test: Any, ours: Trace = ours) -> None:
            adopt(learner._network, ours)
            train(_Epochs(ours.batches), test)

        learner._train = train_as_ours
        learner.incremental_train(manager)
        yield from differences(step, learner._network, ours)
        memory = torch.from_numpy(ours.memory)
        same = (torch.from_numpy(learner._data_memory) == memory).flatten(1).all(1).float().mean()
        yield Difference(step, "exemplars, share that is another", 1 - float(same))
        learner._data_memory = ours.memory.copy()
        accuracy, _ = learner.eval_task()
        yield Difference(step, "top-1, points", abs(float(accuracy["top1"]) - ours.top1))
        learner.after_task()


def compare_changes(job: Job) -> Difference:
    """Our random changes beside those of the transforms that PyCIL uses, with the same draws."""
    others = total = 0
    plan = job.plan
    for one in change_images(plan, read_images(job.directory, "train", 0), job.seed):
        picture = functional.pad(Image.fromarray(one.before), [plan.crop_padding])
        picture = functional.crop(picture, one.top, one.left, plan.side, plan.side)
        picture = functional.hflip(picture) if one.flip else picture
        picture = functional.adjust_brightness(picture, one.brightness)
        others += int((np.asarray(picture) != one.after).sum())
        total += one.after.size
    return Difference(1, "changed images, share of values that is another", others / total)


class _Epochs:
    """Yields the batches of the next epoch whenever it is iterated, as PyCIL's loaders do."""

    def __init__(self, batches: list[list[tuple[Tensor, Tensor]]]) -> None:
        self.batches = batches
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batches[0])

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        self.epoch += 1
        for images_BCHW, labels_B in self.batches[self.epoch - 1]:
            yield 0, images_BCHW, labels_B


@torch.no_grad()
def adopt(network: Any, ours: Trace) -> None:
    """Give PyCIL's network our values before the step."""
    for theirs, extractor in zip(network.convnets, ours.start.extractors, strict=True):
        for target, value in zip(values_of(theirs), values_of(extractor), strict=True):
            target.copy_(value)
    for theirs, layer in ((network.fc, ours.start.head), (network.aux_fc, ours.auxiliary)):
        theirs.weight.copy_(layer.weight)
        theirs.bias.copy_(layer.bias)


def values_of(extractor: nn.Module) -> list[Tensor]:
    """Convolutions and normalisations in order; not counters of batches, nor PyCIL's unused linear layer."""
    state = extractor.state_dict()
    return [value for name, value in state.items() if "num_batches" not in name and "fc." not in name]


def differences(step: int, network: Any, ours: Trace) -> Iterator[Difference]:
    """Between the networks after the step, in units of how far ours moved."""
    for index, theirs in enumerate(network.convnets):
        pairs = zip(
            values_of(theirs),
            values_of(ours.end.extractors[index]),
            values_of(ours.start.extractors[index]),
            strict=True,
        )
        yield Difference(step, f"extractor {index + 1}", max(relative(*triple) for triple in pairs))
    head, start, fc = ours.end.head, ours.start.head, network.fc
    yield Difference(step, "classifier, weights", relative(fc.weight, head.weight, start.weight))
    yield Difference(step, "classifier, biases", relative(fc.bias, head.bias, start.bias))


@torch.no_grad()
def relative(theirs: Tensor, ours: Tensor, start: Tensor) -> float:
    """Largest difference over the largest change of ours; 0 where nothing differs."""
    gap = float((theirs - ours).abs().max())
    return gap and gap / max(float((ours - start).abs().max()), 1e-12)
