"""The engine, wired and run as at a step of the pipeline."""

import warnings
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from msgspec import structs

from bench.cases import SEED, Case, Start, network_settings
from der.core.device import choose_precision
from der.settings.sections import Precision, ScheduleSettings
from der.train.batches import Feed, draw_epoch
from der.train.engine import CapturedStep, Engine, choose_kernels
from der.train.objective import RepresentationObjective
from der.train.resume import StateStore

REPLAYS = 100  # of a captured step
Layers = Literal["kernels", "torch", "inductor"]  # of a processor's engine; the last by torch.compile
EPOCHS = 10_000  # of the training that the measured epochs stand for: not too short to compile kernels for


def whole_training(case: Case) -> ScheduleSettings:
    """What decides, with images and precision, on kernels."""
    return structs.replace(case.phase, epochs=EPOCHS)


class EngineLoop:
    """Trains a step with the engine; "kernels" are those that a long training would have."""

    def __init__(
        self, case: Case, start: Start, device: torch.device, precision: Precision, layers: Layers = "kernels"
    ) -> None:
        self.case = case
        self.step = start.step
        self.images = len(start.images.labels)
        *frozen, newest = start.network.extractors
        objective = RepresentationObjective(
            newest,
            start.network.head,
            start.auxiliary,
            1.0 if start.old_classes else 0.0,
            None,
        )
        self.kept = ExitStack()
        root = Path(self.kept.enter_context(TemporaryDirectory()))
        self.scratch = self.kept.enter_context(StateStore(root, "bench", warnings.warn))
        network, whole = network_settings(case), whole_training(case)
        kernels = (
            choose_kernels(network, whole, start.images, precision, device, warnings.warn)
            if layers == "kernels"
            else None
        )
        kind = choose_precision(precision, device, "precision")
        feed = Feed(start.images, frozen, start.normalization, case.augmentation, kind, device)
        self.engine = Engine(objective, feed, case.phase, kernels=kernels)
        if layers == "inductor":
            newest.compile()

    def run_epoch(self, epoch: int) -> float:
        """Train on every image once and keep the state to resume from; returns the mean loss."""
        draws = draw_epoch(self.images, self.case.augmentation, SEED, "bench", self.step, epoch)
        means = self.engine.run_epoch(draws, self.case.phase.learning_rate, lambda _: None)
        self.scratch.save("bench", [], self.engine.pack, last=False)
        return means.loss

    def release(self) -> None:
        """Free what the next loop's captures could trip over, and the kept state."""
        self.engine.release()
        self.kept.close()

    def time_step(self) -> float | None:
        """Milliseconds of a full batch's captured train step; None where steps are not captured."""
        if not isinstance(self.engine.step, CapturedStep):
            return None
        graph, _ = self.engine.step.graphs[max(self.engine.step.graphs)]
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(REPLAYS):
            graph.replay()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / REPLAYS
