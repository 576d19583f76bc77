"""Features of images under a frozen network: computed once, and found again by the image's bytes.

# N images of a class, H and W pixels, C channels, V views, D features
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import SealedDirectory, release
from der.model.architecture import Normalization
from der.model.network import Network, Outputs, fold_network, images_per_pass, run_network

IDENTITY = 16  # bytes
MOST = 16  # images of a batch

# The features of a class's images, (N,): for each image its identity, and its features (V, D) float32.
# View 0 is the image as it is, view 1 the image flipped from left to right.
Records = NDArray[np.void]


def read_records(directory: Path) -> dict[str, Records]:
    """Map the records in a sealed directory, by their files' names; raises DamageError naming a bad file."""
    sealed = SealedDirectory(directory)
    return {name: sealed.read_array(name, mapped=True) for name in sealed.digests if name.endswith(".npy")}


class FrozenFeatures:
    """Computes the features of images under a network that never changes, except those that are known.

    An image always goes through the network in a batch of the same size, so that its features do not depend
    on the images that come with it.
    """

    def __init__(
        self,
        network: Network,
        normalization: Normalization,
        device: torch.device,
        known: Iterable[Records] = (),
    ) -> None:
        self._network = fold_network(network, device)
        self._normalization, self._device = normalization, device
        self.computed = 0  # images that were not known
        self._known = {one["image"].tobytes(): one["features"] for records in known for one in records}

    def records(self, classes: Sequence[NDArray[np.uint8]], views: int) -> list[Records]:
        """Return the records of each class's images (N, H, W, C); ``views`` is 1, or 2 with the flipped.

        Raises UserError if a feature is not finite.
        """
        found: list[Records] = []
        missing: list[tuple[int, int, int]] = []
        width = self._network.head.in_features
        nothing = np.empty((0, width), np.float32)
        form = [("image", "u1", (IDENTITY,)), ("features", "<f4", (views, width))]
        for images in classes:
            records = np.empty(len(images), form)
            for row, image in enumerate(images):
                identity = hashlib.blake2b(image.tobytes(), digest_size=IDENTITY).digest()
                known = self._known.get(identity, nothing)
                records["image"][row] = np.frombuffer(identity, np.uint8)
                records["features"][row, : len(known)] = known[:views]
                missing += [(len(found), row, view) for view in range(len(known), views)]
            release(images)
            found.append(records)
        self.computed += len({(label, row) for label, row, _ in missing})
        shape = classes[0].shape[1:]
        size = min(MOST, images_per_pass(int(np.prod(shape))))
        for start in range(0, len(missing), size):
            batch = np.zeros((size, *shape), np.uint8)
            for place, (label, row, view) in enumerate(missing[start : start + size]):
                batch[place] = classes[label][row][:, ::-1] if view else classes[label][row]
            features = run_network(self._network, self._normalization, batch, self._device).features
            for place, (label, row, view) in enumerate(missing[start : start + size]):
                found[label]["features"][row, view] = features[place]
        if not all(np.isfinite(one["features"]).all() for one in found):
            raise UserError("network.weights: not all features are finite; take other weights")
        return found

    def __call__(self, classes: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield the features (N, D) of each class's images as they are."""
        return (self.records([images], 1)[0]["features"][:, 0] for images in classes)

    def outputs(self, classes: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Like ``der.model.network.outputs_by_class``."""
        with torch.inference_mode():
            for features in self(classes):
                logits = self._network.head(torch.from_numpy(features).to(self._device))
                yield Outputs(features, logits.cpu().numpy())
