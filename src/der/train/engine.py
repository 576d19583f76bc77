"""The one training loop: epochs of stochastic gradient descent on an objective, on any device.

# B batch, W window of several batches, C channels, H and W pixels, P frozen features
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from der.common.errors import UserError
from der.model.kernels.folding import place_folded
from der.model.preprocessing import Normalize
from der.model.resnet import ResNet
from der.settings.training import AugmentationSettings, ScheduleSettings
from der.train.augmentation import Draws, augment
from der.train.capture import CapturedStep, FusedLayers, TrainBatch
from der.train.masks import ChannelMasks
from der.train.objective import Loss
from der.train.training_images import Gatherer

WINDOW_VALUES = 2048 * 3 * 32 * 32  # input values prepared ahead of the batches that use them


class EpochMeans(NamedTuple):
    """Means over the images of an epoch."""

    loss: float
    auxiliary_loss: float
    accuracy: float  # percent


class Engine:
    """Trains ``objective`` on batches of augmented images and the features of frozen extractors.

    Frozen extractors in evaluation mode see every image by itself, so their features are computed for a
    window of several batches at once, with batch normalisation folded, before the batches are trained on.
    Call ``release`` when done.
    """

    def __init__(
        self,
        objective: nn.Module,
        frozen: Sequence[ResNet],
        gatherer: Gatherer,
        normalize: Normalize,
        augmentation: AugmentationSettings,
        phase: ScheduleSettings,
        precision: torch.dtype,
        masks: ChannelMasks | None = None,
    ) -> None:
        self.device = gatherer.device
        self.precision = precision
        self.objective = place(objective, self.device)
        self.frozen = [place_folded(extractor, self.device, precision) for extractor in frozen]
        self.gatherer = gatherer
        self.normalize = normalize.to(self.device)
        self.augmentation = augmentation
        self.batch_size = phase.batch_size
        self.masks = masks
        own = [] if masks is None else [masks.e]
        others = [value for value in objective.parameters() if all(value is not e for e in own)]
        self.parameters = [*others, *own]
        # Rates are tensors, so that a captured step sees them change.
        self.rates = [torch.tensor(phase.learning_rate, device=self.device) for _ in range(2)]
        groups = [{"params": others, "lr": self.rates[0]}]
        if own:
            groups.append({"params": own, "lr": self.rates[1], "weight_decay": 0.0})
        self.optimizer = torch.optim.SGD(
            groups,
            lr=self.rates[0],
            momentum=phase.momentum,
            weight_decay=phase.weight_decay,
            fused=self.device.type in ("cuda", "cpu"),
        )
        # Zeros are what torch's first step assumes; made now, so that a captured step is like all others.
        for value in self.parameters:
            self.optimizer.state[value]["momentum_buffer"] = torch.zeros_like(value)
        self.totals = torch.zeros(len(EpochMeans._fields), device=self.device)
        self.layers: FusedLayers | None = None
        self.step: TrainBatch = self._train_batch
        if self.device.type == "cuda":
            self.layers = FusedLayers(objective, precision)
            self.step = CapturedStep(self._train_batch, lambda: [*self._state(), self.totals])

    def release(self) -> None:
        """Leave the objective's modules as they were found, apart from their values; trains no more."""
        if self.layers is not None:
            self.layers.release()
        if isinstance(self.step, CapturedStep):
            self.step.release()
        del self.step  # holds this engine, which would live on with its images until a collection

    def _state(self) -> list[Tensor]:
        """Every tensor that training changes, all float32."""
        momenta = [self.optimizer.state[value]["momentum_buffer"] for value in self.parameters]
        return [*self.objective.state_dict().values(), *momenta]

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

        ``rate`` is the learning rate; ``on_images`` hears the size of every batch handed over. Raises
        UserError if the mean loss is not finite.
        """
        self.rates[0].fill_(rate)
        if self.masks is not None:
            self.rates[1].fill_(rate * self.masks.settings.rate_factor)
        self.totals.zero_()
        self.objective.train()
        batches = math.ceil(len(draws.order) / self.batch_size)
        positions = torch.linspace(0, 1, batches, device=self.device)
        prepared = self._batches(draws, self.frozen)
        for position, (images_BCHW, frozen_BP, labels_B) in zip(positions, prepared, strict=True):
            self.step(images_BCHW, frozen_BP, labels_B, position)
            on_images(len(labels_B))
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
        for images_BCHW, _, _ in self._batches(draws, []):
            seen += len(images_BCHW)
            for norm in norms:
                norm.momentum = len(images_BCHW) / seen
            extractor(images_BCHW)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum

    def _batches(self, draws: Draws, frozen: Sequence[ResNet]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        images = len(draws.order)
        values = self.gatherer.values_per_image
        window = max(1, WINDOW_VALUES // (values * self.batch_size)) * self.batch_size
        for start in range(0, images, window):
            inputs_WCHW, frozen_WP, labels_W = self._prepare(draws[start : start + window], frozen)
            yield from zip(
                inputs_WCHW.split(self.batch_size),
                frozen_WP.split(self.batch_size),
                labels_W.split(self.batch_size),
                strict=True,
            )

    @torch.no_grad()
    def _prepare(self, draws: Draws, frozen: Sequence[ResNet]) -> tuple[Tensor, Tensor, Tensor]:
        images_WHWC, labels_W = self.gatherer(draws.order)
        inputs_WCHW = self.normalize(augment(images_WHWC, draws.to(self.device), self.augmentation))
        inputs_WCHW = inputs_WCHW.to(self.precision).contiguous(memory_format=torch.channels_last)
        features = [extractor(inputs_WCHW) for extractor in frozen]
        frozen_WP = (
            torch.cat(features, dim=1) if features else torch.empty(len(inputs_WCHW), 0, device=self.device)
        )
        return inputs_WCHW, frozen_WP, labels_W

    def _train_batch(
        self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor, position: Tensor
    ) -> None:
        if self.layers is not None:
            self.layers.cast_weights()
        self.optimizer.zero_grad()
        loss: Loss = self.objective(images_BCHW, frozen_BP, labels_B, position)
        loss.total.backward()  # type: ignore[no-untyped-call]
        if self.masks is not None:
            self.masks.release()  # gates would keep this batch's graph, and a capture the stream before it
        if self.layers is not None:
            self.layers.join()
        self.optimizer.step()
        if self.masks is not None:
            self.masks.clamp()
        self.totals += torch.stack([part.detach() for part in loss]) * len(labels_B)


def place(module: nn.Module, device: torch.device) -> nn.Module:
    """Move ``module`` to ``device``, convolution weights with channels last, as the images are."""
    return module.to(device).to(memory_format=torch.channels_last)
