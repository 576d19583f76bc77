"""Prediction as `der predict` does it, from image files to names and probabilities."""

from itertools import accumulate, pairwise
from pathlib import Path

import torch
from PIL import Image

from bench.cases import SEED, Case, Start, network_settings
from der.inference.predictor import Predictor, list_pictures, read_chunks
from der.model.checkpoint import FORMAT, RESIZE, Checkpoint, Metadata
from der.model.network import count_parameters, images_per_pass
from der.settings.sections import Recipe
from der.train.batches import TrainingImages


def write_pictures(images: TrainingImages, directory: Path) -> None:
    """One PNG file per image, named by its index."""
    for index, pixels in enumerate(images.pixels.copy()):
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        picture.save(directory / f"{index:05}.png")


class EnginePrediction:
    """Predicts all images of a step with the library."""

    def __init__(self, case: Case, start: Start, device: torch.device, precision: str) -> None:
        self.directory = case.directory
        self.images = len(start.images.labels)
        self.predictor = Predictor(Checkpoint(start.network, make_metadata(case, start)), device, precision)

    def run_epoch(self, epoch: int) -> float:
        """Predict every image once; returns the mean probability of the best guess."""
        metadata = self.predictor.metadata
        side, channels = metadata.image_side, metadata.channels
        files = list_pictures([self.directory])
        total = 0.0
        for _, images, _ in read_chunks(files, side, channels, images_per_pass(side * side * channels)):
            total += sum(best.probability for (best,) in self.predictor.best(images))
        return total / self.images


def make_metadata(case: Case, start: Start) -> Metadata:
    """What a checkpoint of ``start`` would say of itself."""
    names = [str(label) for label in range(start.network.classes)]
    ends = list(accumulate(case.new_classes[: start.step], initial=0))
    return Metadata(
        format=FORMAT,
        steps=[names[low:high] for low, high in pairwise(ends)],
        image_side=start.images.side,
        channels=start.images.channels,
        resize=RESIZE,
        normalization=start.normalization,
        network=network_settings(case),
        recipes=[Recipe(SEED, "float32", case.augmentation, None, None, None)] * start.step,
        shapes=[None] * start.step,
        parameters=count_parameters(start.network),
        parameters_trained=0,
        gamma=None,
    )
