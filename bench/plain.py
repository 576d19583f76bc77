"""The plain loop, as notebooks on DER write it: what the engine is measured against.

Images go one by one through PIL in the workers of a DataLoader, every extractor sees every batch, float32,
contiguous memory, torch's default SGD, one ``.item()`` per batch. Two kindnesses: the frozen extractors run
without autograd, and the workers start once, not at every epoch.

# B batch, C classes or channels, D features per extractor, H and W pixels
"""

import copy
import os

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.cases import SEED, Case, Start
from der.model.architecture import Normalization
from der.model.kernels.layers import ConvNorm
from der.model.network import Extractor
from der.settings.sections import AugmentationSettings
from der.train.batches import TrainingImages, draw_epoch

MAX_WORKERS = 8


class PlainLayer(nn.Module):
    """A ConvNorm without its fast paths."""

    def __init__(self, layer: ConvNorm) -> None:
        super().__init__()
        self.conv = layer.conv
        self.norm = layer.norm
        self.norm.num_batches_tracked = torch.tensor(0)
        self.relu = layer.relu

    def forward(self, x_BCHW: Tensor, residual_BCHW: Tensor | None = None) -> Tensor:
        y_BCHW: Tensor = self.norm(self.conv(x_BCHW))
        if residual_BCHW is not None:
            y_BCHW = y_BCHW + residual_BCHW
        return F.relu(y_BCHW) if self.relu else y_BCHW


def plain_extractor(extractor: Extractor) -> Extractor:
    """A copy made of ordinary layers."""
    copied = copy.deepcopy(extractor)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, ConvNorm):
                setattr(module, name, PlainLayer(child))
    return copied


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Training images, changed at random and normalised one at a time."""

    def __init__(
        self, images: TrainingImages, augmentation: AugmentationSettings, normalization: Normalization
    ) -> None:
        self.images = images.pixels.copy()
        self.labels = images.labels.tolist()
        kinds = [
            augmentation.crop_padding
            and transforms.RandomCrop(self.images.shape[1:3], padding=augmentation.crop_padding),
            augmentation.horizontal_flip and transforms.RandomHorizontalFlip(),
            augmentation.brightness and transforms.ColorJitter(brightness=augmentation.brightness),
            transforms.ToTensor(),
            transforms.Normalize(normalization.mean, normalization.std),
        ]
        self.transform = transforms.Compose([kind for kind in kinds if kind])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self.images[index]
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        return self.transform(picture), self.labels[index]


class PlainLoop:
    """Trains a step as it is; ``workers`` processes read the images, or none but this one if 0."""

    def __init__(self, case: Case, start: Start, device: torch.device, workers: int | None = None) -> None:
        self.case = case
        self.device = device
        self.step = start.step
        self.old_classes = start.old_classes
        extractors = [plain_extractor(extractor).to(device) for extractor in start.network.extractors]
        *self.frozen, self.newest = extractors
        for extractor in self.frozen:
            extractor.requires_grad_(False).eval()
        self.newest.train()
        self.head = copy.deepcopy(start.network.head).to(device)
        self.auxiliary = copy.deepcopy(start.auxiliary).to(device)
        self.optimizer = torch.optim.SGD(
            [*self.newest.parameters(), *self.head.parameters(), *self.auxiliary.parameters()],
            lr=case.phase.learning_rate,
            momentum=case.phase.momentum,
            weight_decay=case.phase.weight_decay,
        )
        if workers is None:
            workers = min(MAX_WORKERS, os.cpu_count() or 1)
        self.order: list[int] = []  # of the images, in the epoch to come
        self.loader = DataLoader(
            PlainImages(start.images, case.augmentation, start.normalization),
            batch_size=case.batch_size,
            sampler=self.order,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self.images = len(start.images.labels)

    def run_epoch(self, epoch: int) -> float:
        """Train on every image once, in the engine's order; returns the mean loss."""
        draws = draw_epoch(self.images, self.case.augmentation, SEED, "bench", self.step, epoch)
        self.order[:] = draws.order.tolist()
        total = 0.0
        correct = torch.zeros((), device=self.device)
        for images_BCHW, labels_B in self.loader:
            images_BCHW, labels_B = images_BCHW.to(self.device), labels_B.to(self.device)
            with torch.no_grad():
                features = [extractor(images_BCHW) for extractor in self.frozen]
            newest_BD = self.newest(images_BCHW)
            logits_BC = self.head(torch.cat([*features, newest_BD], dim=1))
            loss = F.cross_entropy(logits_BC, labels_B)
            if self.old_classes:
                auxiliary_B = (labels_B - self.old_classes + 1).clamp(min=0)
                loss = loss + F.cross_entropy(self.auxiliary(newest_BD), auxiliary_B)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels_B)
            correct += (logits_BC.argmax(1) == labels_B).sum()
        return total / self.images
