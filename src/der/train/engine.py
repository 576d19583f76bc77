"""The one training loop: epochs of stochastic gradient descent on an objective, on any device.

# B batch, W window of several batches, C channels, H and W pixels, P frozen features
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from der.common.errors import UserError
from der.common.settings import AugmentationSettings, PhaseSettings
from der.model.folding import fold_batchnorm
from der.model.preprocessing import Normalize
from der.train.augmentation import Draws, augment
from der.train.images import Gatherer
from der.train.objective import Loss

WINDOW_VALUES = 2048 * 3 * 32 * 32  # input values prepared ahead of the batches that use them


class EpochMeans(NamedTuple):
    """Means over the images of an epoch."""

    loss: float
    auxiliary_loss: float
    accuracy: float  # percent


def place(module: nn.Module, device: torch.device) -> nn.Module:
    """Move ``module`` to ``device``, convolution weights with channels last, as the images are."""
    return module.to(device).to(memory_format=torch.channels_last)


class Engine:
    """Trains ``objective`` on batches of augmented images and the features of frozen extractors.

    Frozen extractors in evaluation mode see every image by itself, so their features are computed for a
    window of several batches at once, with batch normalisation folded, before the batches are trained on.
    """

    def __init__(
        self,
        objective: nn.Module,
        frozen: Sequence[nn.Module],
        gatherer: Gatherer,
        normalize: Normalize,
        augmentation: AugmentationSettings,
        phase: PhaseSettings,
        autocast: torch.autocast,
    ) -> None:
        self.device = gatherer.images.device
        self.objective = place(objective, self.device)
        self.frozen = [place(fold_batchnorm(extractor), self.device) for extractor in frozen]
        self.gatherer = gatherer
        self.normalize = normalize.to(self.device)
        self.augmentation = augmentation
        self.batch_size = phase.batch_size
        self.autocast = autocast
        self.rate = torch.tensor(phase.learning_rate, device=self.device)
        self.optimizer = torch.optim.SGD(
            [parameter for parameter in objective.parameters() if parameter.requires_grad],
            lr=self.rate,
            momentum=phase.momentum,
            weight_decay=phase.weight_decay,
            fused=self.device.type in ("cuda", "cpu"),
        )
        self.totals = torch.zeros(len(EpochMeans._fields), device=self.device)

    def run_epoch(self, draws: Draws, rate: float, on_images: Callable[[int], None]) -> EpochMeans:
        """Train on every image once, in the order and with the changes that ``draws`` holds.

        ``rate`` is the learning rate; ``on_images`` hears the size of every batch handed over. Raises
        UserError if the mean loss is not finite.
        """
        self.rate.fill_(rate)
        self.totals.zero_()
        self.objective.train()
        for images_BCHW, frozen_BP, labels_B in self._batches(draws.to(self.device)):
            self._train_batch(images_BCHW, frozen_BP, labels_B)
            on_images(len(labels_B))
        loss, auxiliary, correct = (self.totals / len(draws.order)).tolist()  # the epoch's one sync
        if not torch.isfinite(torch.tensor(loss)):
            raise UserError(f"the loss is {loss}; lower the learning rate or check the images")
        return EpochMeans(loss, auxiliary, 100 * correct)

    def _batches(self, draws: Draws) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        images = len(draws.order)
        values = self.gatherer.values_per_image
        window = max(1, WINDOW_VALUES // (values * self.batch_size)) * self.batch_size
        for start in range(0, images, window):
            inputs_WCHW, frozen_WP, labels_W = self._prepare(draws[start : start + window])
            yield from zip(
                inputs_WCHW.split(self.batch_size),
                frozen_WP.split(self.batch_size),
                labels_W.split(self.batch_size),
                strict=True,
            )

    @torch.no_grad()
    def _prepare(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        images_WHWC, labels_W = self.gatherer(draws.order)
        inputs_WCHW = self.normalize(augment(images_WHWC, draws, self.augmentation))
        inputs_WCHW = inputs_WCHW.contiguous(memory_format=torch.channels_last)
        with self.autocast:
            features = [extractor(inputs_WCHW) for extractor in self.frozen]
        frozen_WP = torch.cat(features, dim=1) if features else inputs_WCHW.new_empty(len(inputs_WCHW), 0)
        return inputs_WCHW, frozen_WP, labels_W

    def _train_batch(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor) -> None:
        self.optimizer.zero_grad()
        loss: Loss = self.objective(images_BCHW, frozen_BP, labels_B)
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.totals += torch.stack([part.detach() for part in loss]) * len(labels_B)
