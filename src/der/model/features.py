"""A network that never changes: how it starts, and the features of images, computed once.

# N images of a class, H and W pixels, C channels, D features
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import release
from der.model import architecture, backbones, checkpoint, weights
from der.model import network as networks
from der.model.records import KnownFeatures, Records, empty_records
from der.settings.sections import NetworkSettings

MOST = 16  # images of a batch


class FrozenFeatures:
    """The features of images under one network.

    An image always goes through the network in a batch of the same size, so that its features do not depend
    on the images that come with it.
    """

    def __init__(
        self,
        network: networks.Network,
        normalization: architecture.Normalization,
        device: torch.device,
        known: Iterable[Records] = (),
    ) -> None:
        self.network = networks.fold_network(network, device)
        self.normalization, self.device = normalization, device
        self.known = KnownFeatures(known)
        self.computed = 0  # images, each as often as it has views
        self.new: list[Records] = []  # of images of which anything was computed

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
        size = min(MOST, networks.images_per_pass(int(np.prod(shape))))
        for start in range(0, len(missing), size):
            batch = np.zeros((size, *shape), np.uint8)
            for place, (label, row, view) in enumerate(missing[start : start + size]):
                batch[place] = classes[label][row][:, ::-1] if view else classes[label][row]
            features = networks.run_network(self.network, self.normalization, batch, self.device).features
            for place, (label, row, view) in enumerate(missing[start : start + size]):
                found[label]["features"][row, view] = features[place]
        if not all(np.isfinite(one["features"]).all() for one in found):
            raise UserError("network.weights: not all features are finite; take other weights")
        if rows := sorted({(label, row) for label, row, _ in missing}):
            self.new.append(np.array([found[label][row] for label, row in rows]))
        return found

    def __call__(self, classes: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield the features (N, D) of each class's images as they are."""
        return (self.records([images], 1)[0]["features"][:, 0] for images in classes)


def start_frozen(
    settings: NetworkSettings, classes: Sequence[NDArray[np.uint8]], start: weights.Start
) -> checkpoint.Checkpoint:
    """Make a frozen network before step 1, whose ``classes`` have images (N, H, W, C); it knows no class."""
    _, side, _, channels = classes[0].shape
    extractor = networks.build_extractor(settings, channels)
    weights.begin(extractor, start)
    network = networks.Network([extractor], networks.blank_linear(extractor.features, 0, bias=True)).eval()
    networks.try_extractor(network, settings, side, channels)
    described = replace(settings, weights=start.identity)
    metadata = checkpoint.Metadata(
        format=checkpoint.FORMAT,
        steps=[],
        image_side=side,
        channels=3 if channels == 3 else 1,
        resize=checkpoint.RESIZE,
        normalization=choose_normalization(described, channels, classes),
        network=described,
        recipes=[],
        shapes=[None],
        parameters=networks.count_parameters(extractor),
        parameters_trained=0,
        gamma=None,
    )
    return checkpoint.Checkpoint(network, metadata)


def choose_normalization(
    settings: NetworkSettings, channels: int, images: Iterable[NDArray[np.uint8]]
) -> architecture.Normalization:
    """Return the configured normalisation, the backbone's, or that of step 1's ``images`` (n, H, W, C)."""
    if settings.mean is not None and settings.std is not None:
        return architecture.Normalization(settings.mean, settings.std)
    expected = backbones.choose_backbone(settings).normalization
    if expected is not None and len(expected.mean) == channels:
        return expected
    return architecture.measure_normalization(images)
