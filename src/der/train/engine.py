"""The one training loop: epochs of stochastic gradient descent on an objective, on any device.

# B batch, C channels, H and W pixels, P frozen features
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from der.core import ranks
from der.core.errors import UserError
from der.model.kernels.layers import CudaLayers, FusedLayers, ProcessorLayers
from der.model.kernels.processor import Kernels
from der.model.network import may_draw
from der.settings.training import ScheduleSettings
from der.train.augmentation import Draws
from der.train.capture import CapturedStep, TrainBatch
from der.train.descent import Descent, Group
from der.train.feed import Batch, Feed
from der.train.masks import ChannelMasks
from der.train.objective import Loss
from der.train.synced_statistics import synced_statistics


class EpochMeans(NamedTuple):
    """Means over the images of an epoch."""

    loss: float
    auxiliary_loss: float
    accuracy: float  # percent


class Engine:
    """Trains ``objective`` on the batches of ``feed``. Call ``release`` when done.

    With ``kernels`` a processor's layers are trained by them, else by torch's own operations.
    """

    def __init__(
        self,
        objective: nn.Module,
        feed: Feed,
        schedule: ScheduleSettings,
        masks: ChannelMasks | None = None,
        kernels: Kernels | None = None,
    ) -> None:
        self.device = feed.device
        self.objective = place(objective, self.device)
        self.feed = feed
        self.batch_size = schedule.batch_size
        self.masks = masks
        own = [] if masks is None else [masks.e]
        trained = [value for value in objective.parameters() if value.requires_grad]
        weights = [value for value in trained if all(value is not e for e in own)]
        self.rates = [torch.tensor(schedule.learning_rate, device=self.device) for _ in range(2)]
        self.optimizer = self._build_optimizer(weights, own, schedule)
        self.totals = torch.zeros(len(EpochMeans._fields), device=self.device)
        self.layers: FusedLayers | None = None
        self.step: TrainBatch = self._train_batch
        alone = ranks.count() == 1  # layers as one operation normalise by their own images
        if self.device.type == "cuda":
            if alone:
                self.layers = CudaLayers(objective, feed.precision)
            self.step = CapturedStep(self._train_batch, lambda: [*self._state(), self.totals])
        elif kernels is not None and alone:
            self.layers = ProcessorLayers(objective, feed.precision, kernels)

    def _build_optimizer(
        self, weights: list[nn.Parameter], masks: list[nn.Parameter], schedule: ScheduleSettings
    ) -> Descent:
        """Momentum and weight decay as scheduled; masks have a rate of their own, and no decay."""
        groups = [Group(weights, self.rates[0], schedule.weight_decay)]
        if masks:
            groups.append(Group(masks, self.rates[1], 0.0))
        return Descent(groups, schedule.momentum, self.device)

    def release(self) -> None:
        """Leave the objective's modules as they were found, apart from their values; trains no more."""
        if self.layers is not None:
            self.layers.release()
        if isinstance(self.step, CapturedStep):
            self.step.release()
        del self.step  # holds this engine, which would live on with its images until a collection

    def _state(self) -> list[Tensor]:
        """Every tensor that training changes; all float32, but for counters of batches."""
        return [*self.objective.state_dict().values(), *self.optimizer.momenta.values()]

    def may_draw(self) -> bool:
        """Whether layers may draw from torch's own generators."""
        return may_draw(self.objective, *self.feed.frozen)

    def pack(self) -> Tensor:
        """A copy of all that training changes as one flat tensor on the CPU, for ``unpack``."""
        return torch.cat([value.detach().reshape(-1) for value in self._state()]).cpu()

    @torch.no_grad()
    def unpack(self, state: Tensor) -> None:
        """Go on from what ``pack`` returned, of an engine built alike."""
        values = self._state()
        parts = state.to(self.device).split([value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view(value.shape))

    def run_epoch(self, draws: Draws, rate: float, on_images: Callable[[int], None]) -> EpochMeans:
        """Train on every image once, in the order and with the changes that ``draws`` holds.

        ``rate`` is the learning rate; ``on_images`` hears the size of every whole batch. Raises
        UserError if the mean loss is not finite.
        """
        self.rates[0].fill_(rate)
        if self.masks is not None:
            self.rates[1].fill_(rate * self.masks.settings.rate_factor)
        self.totals.zero_()
        self.objective.train()
        batches = math.ceil(len(draws.order) / self.batch_size)
        positions = torch.linspace(0, 1, batches, device=self.device)
        for position, batch in zip(positions, self.feed.batches(draws, self.batch_size), strict=True):
            self.step(batch, position)
            on_images(batch.whole)
        ranks.sum_in_place([self.totals])
        loss, auxiliary, correct = (self.totals / len(draws.order)).tolist()  # the epoch's one sync
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss}; lower the learning rate or check the images")
        return EpochMeans(loss, auxiliary, 100 * correct)

    @torch.no_grad()
    def estimate_statistics(self, extractor: nn.Module, draws: Draws) -> None:
        """Replace the statistics of batch normalisation by their means over an epoch.

        Batches count by their images: the last may be small.
        """
        norms = [module for module in extractor.modules() if isinstance(module, nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        extractor.train()
        if self.layers is not None:
            self.layers.cast_weights()
        seen = 0
        for images_BCHW, whole in self.feed.inputs(draws, self.batch_size):
            seen += whole
            for norm in norms:
                norm.momentum = whole / seen
            with synced_statistics():
                extractor(images_BCHW)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum

    def _train_batch(self, batch: Batch, position: Tensor) -> None:
        images_BCHW, frozen_BP, labels_B, share, _ = batch
        if self.layers is not None:
            self.layers.cast_weights()
        self.optimizer.zero_grad()
        with synced_statistics():
            loss: Loss = self.objective(images_BCHW, frozen_BP, labels_B, position)
        (loss.total * share).backward()  # type: ignore[no-untyped-call]
        if self.masks is not None:
            self.masks.release()  # gates would keep this batch's graph, and a capture the stream before it
        if self.layers is not None:
            self.layers.join()
        ranks.sum_in_place(self.optimizer.gradients())
        self.optimizer.step()
        if self.masks is not None:
            self.masks.clamp()
        self.totals += torch.stack([part.detach() for part in loss]) * len(labels_B)


def place(module: nn.Module, device: torch.device) -> nn.Module:
    """Move ``module`` to ``device``, convolution weights with channels last, as the images are."""
    return module.to(device).to(memory_format=torch.channels_last)
