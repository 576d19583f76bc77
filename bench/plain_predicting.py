"""Prediction as it is usually written: a DataLoader over files, PIL transforms, the network as trained."""

import copy
import os
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.cases import Case, Start
from bench.plain import MAX_WORKERS, plain_extractor


class PictureFiles(Dataset[Tensor]):
    """Image files, normalised one at a time."""

    def __init__(
        self, directory: Path, side: int, channels: int, mean: list[float], std: list[float]
    ) -> None:
        self.files = sorted(directory.iterdir())
        self.mode = "L" if channels == 1 else "RGB"
        self.transform = transforms.Compose(
            [
                transforms.Resize(side),
                transforms.CenterCrop(side),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as picture:
            normalized: Tensor = self.transform(picture.convert(self.mode))
        return normalized


class PlainPrediction:
    """Predicts all images of a step, float32; ``workers`` processes read them, or this one if 0."""

    def __init__(self, case: Case, start: Start, device: torch.device, workers: int | None = None) -> None:
        self.device = device
        self.extractors = [plain_extractor(one).to(device).eval() for one in start.network.extractors]
        self.head = copy.deepcopy(start.network.head).to(device)
        self.images = len(start.images.labels)
        side, channels = start.images.side, start.images.channels
        mean, std = start.normalization.mean, start.normalization.std
        if workers is None:
            workers = min(MAX_WORKERS, os.cpu_count() or 1)
        self.loader = DataLoader(
            PictureFiles(case.directory, side, channels, mean, std),
            batch_size=case.batch_size,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    @torch.no_grad()
    def run_epoch(self, epoch: int) -> float:
        """Predict every image once; returns the mean probability of the best guess."""
        total = 0.0
        for images_BCHW in self.loader:
            images_BCHW = images_BCHW.to(self.device)
            features_BD = torch.cat([extractor(images_BCHW) for extractor in self.extractors], dim=1)
            best_B = self.head(features_BD).softmax(dim=1).max(dim=1).values
            total += sum(one.item() for one in best_B)
        return total / self.images
