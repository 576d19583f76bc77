"""Features of images under a network that never changes: an image is found again by its bytes.

# N images of a class, H and W pixels, C channels, V views, D features
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core import errors, files
from der.model.architecture import Outputs

# The features of a class's images (N,): for each image its identity, and its features (V, D) float32. View 0
# is the image as it is, view 1 the image flipped from left to right.
Records = NDArray[np.void]
IDENTITY = 16  # bytes


def empty_records(images: NDArray[np.uint8], views: int, features: int) -> Records:
    """Make records of images (N, H, W, C), with their identities and without features."""
    form = [("image", "u1", (IDENTITY,)), ("features", "<f4", (views, features))]
    records = np.empty(len(images), form)
    for row, image in enumerate(images):
        digest = hashlib.blake2b(image.tobytes(), digest_size=IDENTITY).digest()
        records["image"][row] = np.frombuffer(digest, np.uint8)
    return records


def read_records(directory: Path) -> dict[str, Records]:
    """Map the records in a sealed directory, by their files' names; raises DamageError naming a bad file."""
    sealed = files.SealedDirectory(directory)
    return {name: sealed.read_array(name, mapped=True) for name in sealed.digests if name.endswith(".npy")}


class KnownFeatures:
    """Features of images by their bytes."""

    def __init__(self, known: Iterable[Records]) -> None:
        by_views = sorted(known, key=lambda records: records["features"].shape[1])  # the last one counts
        self._known = {one["image"].tobytes(): one["features"] for records in by_views for one in records}

    def fill(self, records: Records) -> Iterator[tuple[int, int]]:
        """Fill in what is known; yield row and view of the rest."""
        views = records["features"].shape[1]
        for row, image in enumerate(records["image"]):
            known = self._known.get(image.tobytes(), ())[:views]
            for view, features in enumerate(known):
                records["features"][row, view] = features
            yield from ((row, view) for view in range(len(known), views))

    def outputs(
        self, classes: Iterable[NDArray[np.uint8]], weight: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Iterator[Outputs]:
        """Yield features and logits of each class's images, for a classifier (classes, D) with biases."""
        return (Outputs(features, features @ weight.T + bias) for features in self(classes))

    def __call__(self, classes: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield the features (N, D) of each class's images as they are; raises DamageError without them."""
        width = next((one.shape[1] for one in self._known.values()), 0)
        for images in classes:
            records = empty_records(images, 1, width)
            if any(self.fill(records)):
                raise errors.DamageError("data/features: without the features of some image")
            yield records["features"][:, 0]
