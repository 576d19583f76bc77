"""Training as a textbook writes it, and three steps of the product to hold against it.

The textbook takes PIL images one by one through torchvision, runs all extractors as modules, and steps
``torch.optim.SGD``. The engine differs from it in four ways that change no more than the rounding: it
folds the batch normalisation of frozen extractors, runs them on windows of several batches, keeps
channels last, and steps with the fused optimiser. Given the last two and, from step 2 on, folded
extractors run on the whole epoch, the textbook gives the same bits; without them, the same to 1e-5. Only
where an input of a ReLU happens to lie within rounding of zero do two runs part, here in a tenth of the
draws of images; so one of two draws must hold that bound.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from der.core.randomness import generator
from der.model.checkpoint import Checkpoint
from der.model.network import Network, empty_network, expand, fold_batchnorm, random_linear
from der.settings.sections import TrainSettings
from der.train.batches import Draws, TrainingImages
from tests import builders

NEW_CLASSES = [2, 2, 3]
PER_CLASS = [[11, 10], [4, 3, 9, 9], [2, 2, 3, 3, 9, 8, 3]]  # images; in batches of 8 the last is partial
DRAWS = 2  # of the images


def step_images(draw: int) -> list[TrainingImages]:
    """The training images of the three steps."""
    return [builders.training_images(10 * draw + step, counts) for step, counts in enumerate(PER_CLASS)]


DATA = step_images(0)
SETTINGS = builders.train_settings(
    base=builders.phase_settings(epochs=4, milestones=[1, 3], decay=0.2, weight_decay=0.01),
    incremental=builders.incremental_settings(
        epochs=3,
        learning_rate=0.03,
        milestones=[2],
        decay=0.2,
        momentum=0.8,
        weight_decay=0.02,
        auxiliary_weight=0.7,
    ),
)
RATES = [[0.05, 0.01, 0.01, 0.002], [0.03, 0.03, 0.006]]  # base and incremental, by epoch


def augmented(images: TrainingImages, draws: Draws, settings: TrainSettings) -> Tensor:
    """All images of an epoch, in the order visited: (N, C, H, W) float32, normalised."""
    pixels = images.pixels.copy()
    padding = settings.augmentation.crop_padding
    inputs = []
    for visit, index in enumerate(draws.order.tolist()):
        image = TF.pad(Image.fromarray(pixels[index]), [padding], fill=0)
        image = TF.crop(image, int(draws.top[visit]), int(draws.left[visit]), *pixels.shape[1:3])
        image = TF.hflip(image) if draws.flip[visit] else image
        image = TF.adjust_brightness(image, float(draws.brightness[visit]))
        inputs.append(
            TF.normalize(TF.to_tensor(image), builders.NORMALIZATION.mean, builders.NORMALIZATION.std)
        )
    return torch.stack(inputs)


@dataclass(frozen=True)
class Textbook:
    """Which of the engine's ways the loop below shares."""

    channels_last: bool
    fused: bool
    folded: bool  # and run on the whole epoch at once

    def frozen_features(self, extractors: Sequence[nn.Module], inputs: Tensor, batch: int) -> Tensor:
        frozen = [fold_batchnorm(one) if self.folded else copy.deepcopy(one).eval() for one in extractors]
        if self.channels_last:
            frozen = [one.to(memory_format=torch.channels_last) for one in frozen]
        parts = [inputs] if self.folded else inputs.split(batch)
        with torch.no_grad():
            return torch.cat([torch.cat([one(part) for one in frozen], dim=1) for part in parts])

    def train(self, previous: Network, images: TrainingImages, step: int) -> tuple[Network, list[float]]:
        """The network after ``step``, and the mean loss of each epoch."""
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        old, new = previous.classes, NEW_CLASSES[step - 1]
        phase = SETTINGS.incremental if old else SETTINGS.base
        network = expand(
            previous, new, builders.NETWORK, builders.CHANNELS, generator(0, "initialization", step)
        )
        auxiliary = random_linear(64, new + 1, builders.NETWORK, generator(0, "auxiliary classifier", step))
        *frozen, newest = network.extractors
        newest.train().to(memory_format=memory_format)
        optimizer = torch.optim.SGD(
            [*newest.parameters(), *network.head.parameters(), *auxiliary.parameters()],
            lr=phase.learning_rate,
            momentum=phase.momentum,
            weight_decay=phase.weight_decay,
            foreach=False,
            fused=self.fused,
        )
        losses = []
        for epoch, rate in enumerate(RATES[min(step, 2) - 1]):
            optimizer.param_groups[0]["lr"] = rate
            draws = builders.draws_of(len(images.labels), SETTINGS.augmentation, 0, step, epoch)
            x = augmented(images, draws, SETTINGS).contiguous(memory_format=memory_format)
            y = torch.from_numpy(images.labels)[draws.order]
            sum_of_losses = 0.0
            for start in range(0, len(y), 8):
                batch = slice(start, start + 8)
                new_features = newest(x[batch])
                u = new_features
                if frozen:
                    u = torch.cat([self.frozen_features(frozen, x, 8)[batch], new_features], dim=1)
                loss = F.cross_entropy(network.head(u), y[batch])
                if old:
                    auxiliary_labels = torch.where(y[batch] < old, 0, y[batch] - old + 1)
                    loss = loss + 0.7 * F.cross_entropy(auxiliary(new_features), auxiliary_labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                sum_of_losses += loss.item() * len(y[batch])
            losses.append(sum_of_losses / len(y))
        if old:
            with torch.no_grad():
                norms = network.head.weight.square().sum(1).sqrt()
                network.head.weight[old:] *= norms[:old].mean() / norms[old:].mean()
        return network.eval(), losses


@dataclass(frozen=True)
class TextbookRun:
    """Three steps of the product."""

    data: list[TrainingImages]
    checkpoints: list[Checkpoint | None]  # after steps 0 to 3
    recorders: list[builders.Recorder]

    @property
    def networks(self) -> list[Network]:
        """After steps 0 to 3."""
        return [empty_network() if one is None else one.network for one in self.checkpoints]

    def losses(self, step: int) -> list[float]:
        """Of each epoch."""
        return [record.loss for record in self.recorders[step - 1].records]


def class_names(steps: int) -> list[list[str]]:
    return [[f"{step}/{index}" for index in range(new)] for step, new in enumerate(NEW_CLASSES[:steps])]


def run_steps(data: list[TrainingImages], settings: TrainSettings = SETTINGS) -> TextbookRun:
    checkpoints: list[Checkpoint | None] = [None]
    recorders = []
    for step, images in enumerate(data, start=1):
        recorders.append(builders.Recorder())
        checkpoints.append(
            builders.take_step(checkpoints[-1], class_names(step), images, settings, recorders[-1])
        )
    return TextbookRun(data, checkpoints, recorders)
