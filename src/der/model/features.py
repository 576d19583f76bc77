"""Computes the features of images under a network that never changes, except those that are known.

# N images of a class, H and W pixels, C channels, D features
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import release
from der.model.architecture import Normalization
from der.model.network import Network, fold_network, images_per_pass, run_network
from der.model.records import KnownFeatures, Records, empty_records

MOST = 16  # images of a batch


class FrozenFeatures:
    """The features of images under one network.

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
        self.network = fold_network(network, device)
        self.normalization, self.device = normalization, device
        self.known = KnownFeatures(known)
        self.computed = 0  # images, each as often as it has views

    def records(self, classes: Sequence[NDArray[np.uint8]], views: int) -> list[Records]:
        """Return the records of each class's images (N, H, W, C); ``views`` is 1, or 2 with the flipped.

        Raises UserError if a feature is not finite.
        """
        found: list[Records] = []
        missing: list[tuple[int, int, int]] = []
        for label, images in enumerate(classes):
            found.append(empty_records(images, views, self.network.head.in_features))
            missing += [(label, row, view) for row, view in self.known.fill(found[-1])]
            release(images)
        self.computed += len(missing)
        shape = classes[0].shape[1:]
        size = min(MOST, images_per_pass(int(np.prod(shape))))
        for start in range(0, len(missing), size):
            batch = np.zeros((size, *shape), np.uint8)
            for place, (label, row, view) in enumerate(missing[start : start + size]):
                batch[place] = classes[label][row][:, ::-1] if view else classes[label][row]
            features = run_network(self.network, self.normalization, batch, self.device).features
            for place, (label, row, view) in enumerate(missing[start : start + size]):
                found[label]["features"][row, view] = features[place]
        if not all(np.isfinite(one["features"]).all() for one in found):
            raise UserError("network.weights: not all features are finite; take other weights")
        return found

    def __call__(self, classes: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield the features (N, D) of each class's images as they are."""
        return (self.records([images], 1)[0]["features"][:, 0] for images in classes)
