"""Our DER, step by step as the stages train_task, build_memory and evaluate run it.

# n images of a class, H and W pixels, C channels
"""

import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from bench.pycil.contenders import Contender, Epoch, Job, Step, Tell
from bench.pycil.images import read_images
from bench.pycil.plans import Plan
from bench.pycil.recipe import NORMALIZATION, memory_settings, network_settings, train_settings
from der.core.device import set_up_device
from der.data.arrays import Memory, empty_memory
from der.memory import build_memory
from der.model.architecture import Outputs
from der.model.checkpoint import Checkpoint
from der.model.network import Network, fold_network, run_network
from der.settings.sections import Precision
from der.train import engine as training
from der.train.batches import TrainingImages, gather_step
from der.train.engine import choose_kernels
from der.train.log import EpochRecord, Listener
from der.train.resume import StateStore
from der.train.step import StepInputs, train_step


def learn(contender: Contender, job: Job, tell: Tell) -> None:
    """Learn the plan's steps, telling of every epoch and step."""
    heads = "lecun_uniform" if contender.heads == "pycil" else "torch_uniform"
    run = JobRun(job, set_up_device(job.device), contender.precision, heads)
    checkpoint, memory = None, empty_memory()
    # The kernels that a training of usual length has: only the first epochs of one are timed.
    with patch.object(training, "TRAINING_PIXELS", 0):
        for step in range(1, len(job.plan.new_classes) + 1):
            images = run.gather(step, memory)
            checkpoint = run.train(step, checkpoint, images, Clock(step, tell))
            network = fold_network(checkpoint.network, run.device)
            memory = run.remember(step, memory, network)
            tell(Step(step, run.measure_top1(network), checkpoint.metadata.gamma))


@dataclass(frozen=True)
class JobRun:
    """One job done by our DER: what the stages do, without the project's files."""

    job: Job
    device: torch.device
    precision: Precision = "float32"
    head_initialization: str = "torch_uniform"

    def gather(self, step: int, memory: Memory) -> TrainingImages:
        """The images of step ``step``, counted from 1, and the exemplars of the steps before."""
        return gather_step(self._new_classes(step), memory)

    def train(
        self, step: int, previous: Checkpoint | None, images: TrainingImages, listener: "Clock"
    ) -> Checkpoint:
        """What train_task does between its reading and its writing, the state to resume from included."""
        plan = self.job.plan
        settings = train_settings(plan, self.precision, self.job.seed)
        network = network_settings(plan, self.head_initialization)
        phase = settings.phase(step)
        kernels = choose_kernels(network, phase, images, self.precision, self.device, warnings.warn)
        steps = class_names(plan)[:step]
        inputs = StepInputs(previous, steps, images, network, settings, self.device, kernels=kernels)
        with TemporaryDirectory() as root, StateStore(Path(root), "bench", warnings.warn) as state:
            return train_step(inputs, listener, state).checkpoint

    def remember(self, step: int, memory: Memory, network: Network) -> Memory:
        """The exemplars after the step; ``network`` is folded."""
        settings = memory_settings(self.job.plan)

        def features(classes: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
            return (self._run(network, images).features for images in classes)

        return build_memory(memory, self._new_classes(step), settings, features)

    def measure_top1(self, network: Network) -> float:
        """Percent of the test images of all classes seen; ``network`` is folded."""
        right = total = 0
        for label in range(network.classes):
            logits_nC = self._run(network, read_images(self.job.directory, "test", label)).logits
            right += int((logits_nC.argmax(1) == label).sum())
            total += len(logits_nC)
        return 100 * right / total

    def _run(self, network: Network, images_nHWC: NDArray[np.uint8]) -> Outputs:
        return run_network(network, NORMALIZATION, images_nHWC, self.device)

    def _new_classes(self, step: int) -> list[NDArray[np.uint8]]:
        names = class_names(self.job.plan)[step - 1]
        return [read_images(self.job.directory, "train", int(name)) for name in names]


class Clock(Listener):
    """A listener that times epochs, each from the end of what was told before."""

    def __init__(self, step: int, tell: Tell) -> None:
        self.step = step
        self.tell = tell
        self.images = 0
        self.begin = 0.0

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """Training begins."""
        self.images = images
        self.begin = time.perf_counter()

    def on_resume(self, epochs: int) -> None:
        """Never happens: nothing is kept between runs."""

    def on_images(self, images: int) -> None:
        """Show nothing."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""
        self.tell(Epoch(self.step, record.epoch - 1, time.perf_counter() - self.begin, self.images))
        self.begin = time.perf_counter()


def class_names(plan: Plan) -> list[list[str]]:
    """The labels as names, by step."""
    ends = accumulate(plan.new_classes, initial=0)
    return [[str(label) for label in range(low, high)] for low, high in pairwise(ends)]
