"""Uses a trained network: finds and decodes pictures, and predicts their classes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from der.core.device import choose_device, choose_precision
from der.core.errors import UserError
from der.data.sources.pictures import Fault, Picture, decode, is_ignored, is_no_picture, resize_all
from der.model.architecture import Outputs
from der.model.checkpoint import Checkpoint, load_checkpoint
from der.model.network import fold_network, run_network

# Files that could be read, an image (n, side, side, channels) for each, and a sentence for every other file.
Chunk = tuple[list[Path], NDArray[np.uint8], list[str]]


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """List the files in ``paths``, and those in its directories at any depth, in order of names.

    Links are followed, but each directory is searched once. In directories, hidden files and files whose
    names are no pictures' are skipped, as in a folder of training images. Unreadable entries, such as broken
    links, are listed too: ``read_chunks`` says what is wrong with them.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = list(_scan(path, set()))
            if not inside:
                raise UserError(f"{path}: there is no picture in this directory")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise UserError(f"{path}: there is no such file or directory")
    return files


def _scan(directory: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files for ``list_pictures``; ``visited`` has device and number of each searched directory."""
    try:
        status = directory.stat()
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        yield directory
        return
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    for name in names:
        path = directory / name
        if os.path.isdir(path):  # unlike the path's method, False for an error
            if not is_ignored(name):
                yield from _scan(path, visited)
        elif not is_no_picture(name):
            yield path


def read_chunks(files: Sequence[Path], side: int, channels: int, chunk: int) -> Iterator[Chunk]:
    """Yield all ``files``, ``chunk`` at a time, converted to ``side`` pixels and ``channels``."""
    with closing(decode((Picture(str(file), file) for file in files), side, channels)) as decoded:
        for start in range(0, len(files), chunk):
            part = files[start : start + chunk]
            results = list(zip(part, islice(decoded, len(part)), strict=True))
            good = [(file, one) for file, one in results if not isinstance(one, Fault)]
            images = np.array([one for _, one in good], np.uint8).reshape(-1, side, side, channels)
            faults = [one.sentence for _, one in results if isinstance(one, Fault)]
            yield [file for file, _ in good], images, faults


class Prediction(NamedTuple):
    """A class with its probability for an image."""

    name: str
    probability: float  # from 0 to 1; NaN of what is like no class


class Predictor:
    """Classifies images with the network of a checkpoint, with folded batch normalisation.

    In float32 the probabilities equal the network's to about 1e-5. "bfloat16" is faster on processors that
    support it, and differs in the third digit. Raises UserError if folding overflows.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, precision: str = "float32") -> None:
        self.metadata, self.means = checkpoint.metadata, checkpoint.means
        self.device, self.precision = device, choose_precision(precision, device, "precision")
        self.network = fold_network(checkpoint.network, device, self.precision)
        if not all(values.isfinite().all() for values in self.network.parameters()):
            fault = "the network's weights overflow where its normalisation is folded"
            raise UserError(f"{fault}; train it again")

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities (N, K), in label order, of images uint8 (N, H, W, C), or (N, H, W) if grey.

        Images with another side or number of channels are converted as the training images were. Raises
        UserError for anything else, a single image included, and if the network's scores are not finite.
        """
        return _softmax(self._run(images))

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the super-features (N, D) of images as in ``__call__`` (DER, section 3.2)."""
        return self._run(images).features

    def _run(self, images: NDArray[np.uint8]) -> Outputs:
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
            fault = f"images: {images.dtype} {images.shape} does not fit"
            raise UserError(f"{fault}; give uint8 (N, H, W, 1 or 3)")
        if not len(images):
            widths = self.network.head.in_features, self.network.head.out_features
            return Outputs(*(np.empty((0, width), np.float32) for width in widths))
        side, channels = self.metadata.image_side, self.metadata.channels
        if channels == 3 and images.ndim == 3 and images.shape[2] == 3:
            fault = f"images: {images.shape} is one in colour, or grey ones 3 pixels wide"
            raise UserError(f"{fault}; give (N, H, W, 3)")
        if images.shape[1:] != (side, side, channels):
            images = resize_all(images[..., 0] if images.shape[3:] == (1,) else images, side, channels)
        outputs = run_network(self.network, self.metadata.normalization, images, self.device, self.precision)
        if not np.isfinite(outputs.logits).all():
            raise UserError("the network's scores are not finite; train it again")
        return outputs

    def judge(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the probabilities (N, K), and (N,) True where more familiar than 5 % of held-out ones.

        Raises UserError for the images that a call refuses, and for a network that was not frozen.
        """
        familiarity = self.metadata.familiarity
        if familiarity is None or self.means is None:
            mend = "one that stays frozen can (network.tuned: none), with at least two images of a class"
            raise UserError(f"unknown: this network cannot tell; {mend}")
        outputs = self._run(images)
        return _softmax(outputs), familiarity.score(outputs, self.means) >= familiarity.least

    def best(
        self, images: NDArray[np.uint8], count: int = 1, *, unknown: str | None = None
    ) -> list[list[Prediction]]:
        """Return the ``count`` most probable classes of every image, or all if there are fewer; best first.

        For an image that is not familiar, ``unknown`` comes before them. Raises UserError for a count below
        1, and for the images that a call refuses.
        """
        if count < 1:
            raise UserError(f"count: {count} is none; give at least 1")
        rows, known_N = (self(images), None) if unknown is None else self.judge(images)
        names = self.metadata.class_names
        orders = np.argsort(-rows, axis=1, kind="stable")[:, :count]  # of equal ones the smaller label first
        pairs = zip(rows, orders, strict=True)
        found = [[Prediction(names[label], float(row[label])) for label in order] for row, order in pairs]
        if unknown is not None and known_N is not None:
            for row in np.flatnonzero(~known_N).tolist():
                found[row] = [Prediction(unknown, np.nan), *found[row]][:count]
        return found


def _softmax(outputs: Outputs) -> NDArray[np.float32]:
    return torch.from_numpy(outputs.logits).softmax(dim=1).numpy()  # type: ignore[no-any-return]


def load_predictor(
    path: Path | str, device: str | torch.device | None = None, precision: str = "float32"
) -> Predictor:
    """Read a checkpoint directory; raises UserError if it is missing or damaged, or has no class.

    ``device`` is a name as for ``DERClassifier``, or a torch.device; None chooses the best available one.
    """
    return Predictor(load_checkpoint(Path(path)), choose_device(device), precision)
