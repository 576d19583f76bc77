"""Features of a frozen network: the same bits of an image in whatever company, and each computed once."""

import numpy as np
import pytest
import torch

from der.core.errors import DamageError, UserError
from der.model.features import MOST, FrozenFeatures
from der.model.records import KnownFeatures
from tests.builders import CPU, NORMALIZATION, random_images, random_network

NETWORK = random_network([2])
IMAGES = [random_images(seed, count) for seed, count in enumerate([MOST + 3, 5, 1])]


def computer(*known: np.ndarray) -> FrozenFeatures:
    return FrozenFeatures(NETWORK, NORMALIZATION, CPU, known)


def test_features_are_those_of_the_network_and_of_the_flipped_image() -> None:
    for images, records in zip(IMAGES, computer().records(IMAGES, 2), strict=True):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(one)[:, None, None] for one in (NORMALIZATION.mean, NORMALIZATION.std))
        inputs = (pixels - mean) / std
        with torch.no_grad():
            for view, seen in enumerate([inputs, inputs.flip(3)]):
                expected = NETWORK.eval().features(seen)
                np.testing.assert_allclose(records["features"][:, view], expected, rtol=1e-4, atol=1e-5)


def test_company_does_not_change_a_bit_and_nothing_is_computed_twice() -> None:
    together = computer().records(IMAGES, 2)
    alone = [
        computer().records([images[row : row + 1]], 2)[0] for images in IMAGES for row in range(len(images))
    ]
    assert np.concatenate(together).tobytes() == np.concatenate(alone).tobytes()
    some = computer(together[0][:7], together[1])
    assert [one.tobytes() for one in some.records(IMAGES, 2)] == [one.tobytes() for one in together]
    assert some.computed == 2 * (len(IMAGES[0]) - 7 + len(IMAGES[2]))
    plain = computer().records(IMAGES, 1)  # as tests are: without the flipped
    again = computer(*plain)
    assert [one.tobytes() for one in again.records(IMAGES, 2)] == [one.tobytes() for one in together]
    assert again.computed == sum(map(len, IMAGES))
    found = [*KnownFeatures(together)(IMAGES)]
    assert all((one == records["features"][:, 0]).all() for one, records in zip(found, together, strict=True))


def test_missing_and_infinite_features_are_errors() -> None:
    known = KnownFeatures(computer().records(IMAGES[:1], 1))
    with pytest.raises(DamageError, match=r"^data/features: "):
        list(known(IMAGES))
    network = random_network([2], seed=1)
    *_, last = network.extractors[0].parameters()
    last.data[:] = torch.inf
    with pytest.raises(UserError, match=r"^network\.weights: not all features are finite"):
        FrozenFeatures(network, NORMALIZATION, CPU).records(IMAGES, 1)
