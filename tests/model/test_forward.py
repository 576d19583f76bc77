"""Forward passes over many images."""

from functools import cache
from itertools import pairwise, starmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from der.core import (distributed)
from der.core.files import (read_array, write_array)
from der.evaluation.evaluate import (judge_tests)
from der.model import forward
from der.model.forward import Outputs, outputs_in_turns, run_network
from tests.builders import (
    CPU,
    NORMALIZATION,
    random_checkpoint,
    random_images,
    random_network,
    same_bits,
    weights,
)


def test_features_and_logits_against_the_modules_one_image_at_a_time() -> None:
    network, images = random_network([3, 2]), random_images(0, 7)
    outputs = run_network(network, NORMALIZATION, images, CPU)
    assert outputs.features.shape == (7, 128)
    assert outputs.logits.shape == (7, 5)
    assert outputs.features.dtype == outputs.logits.dtype == np.float32
    for image, features, logits in zip(images, outputs.features, outputs.logits, strict=True):
        pixels = (image / 255 - np.array(NORMALIZATION.mean)) / np.array(NORMALIZATION.std)
        inputs = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            expected = torch.cat([extractor(inputs) for extractor in network.extractors], 1)
            np.testing.assert_allclose(features, expected[0], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(logits, network.head(expected)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_pass", [1, 2, 3, 7, 8])
def test_any_number_of_images_per_pass(per_pass: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = random_network([3, 2]), random_images(0, 7)
    whole = run_network(network, NORMALIZATION, images, CPU)
    monkeypatch.setattr(forward, "PASS_VALUES", per_pass * images[0].size)
    parts = run_network(network, NORMALIZATION, images, CPU)
    np.testing.assert_allclose(parts.features, whole.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.logits, whole.logits, rtol=1e-4, atol=1e-5)


def test_an_image_larger_than_a_pass_is_still_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "PASS_VALUES", 1)
    assert len(run_network(random_network([2]), NORMALIZATION, random_images(0, 3), CPU).logits) == 3


def test_the_network_is_run_in_evaluation_mode_and_left_as_it_was() -> None:
    network, images = random_network([3]), random_images(0, 5)
    before = weights(network)
    expected = run_network(network, NORMALIZATION, images, CPU)
    result = run_network(network.train(), NORMALIZATION, images, CPU)
    np.testing.assert_array_equal(result.logits, expected.logits)
    assert same_bits(weights(network), before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_read_only_memory_maps_will_do(tmp_path: Path) -> None:
    images = random_images(0, 5)
    write_array(tmp_path / "images.npy", images)
    network = random_network([3])
    mapped = run_network(network, NORMALIZATION, read_array(tmp_path / "images.npy", mapped=True), CPU)
    np.testing.assert_array_equal(mapped.logits, run_network(network, NORMALIZATION, images, CPU).logits)


CHECKPOINT = random_checkpoint([3])


@cache
def alone(seed: int, count: int) -> Outputs:
    """What the network makes of a class that has a pass for itself."""
    images = random_images(seed, count)
    return run_network(CHECKPOINT.network, CHECKPOINT.metadata.normalization, images, CPU)


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 6))
def test_classes_share_passes_that_are_no_longer_than_others(counts: list[int], most: int) -> None:
    passes = []
    classes = [random_images(seed, count) for seed, count in enumerate(counts)]

    def run(*given: Any) -> Outputs:
        passes.append(len(given[2]))
        return run_network(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "PASS_VALUES", most * random_images(0, 1).size)
        patch.setattr(forward, "run_network", run)
        with outputs_in_turns(CHECKPOINT, CPU) as outputs_of:
            together = [*outputs_of(classes)]
    for one, other in zip(together, starmap(alone, enumerate(counts)), strict=True):
        np.testing.assert_allclose(one.features, other.features, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
    assert sum(passes) == sum(counts)
    assert all(count <= most or count in counts for count in passes)
    assert len(passes) <= len(counts) and all(a + b > most for a, b in pairwise(passes))


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("per_pass", [2, 512])
def test_several_ranks_share_the_images_whatever_a_pass_takes(
    count: int, per_pass: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = random_network([3, 2]), random_images(0, 7)
    whole = run_network(network, NORMALIZATION, images, CPU)
    monkeypatch.setattr(forward, "PASS_VALUES", per_pass * images[0].size)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensors: None)
    parts = []
    for rank in range(count):
        monkeypatch.setattr(distributed, "_group", SimpleNamespace(rank=rank, size=count))
        parts.append(run_network(network, NORMALIZATION, images, CPU))
    shares = [int(part.features.any(axis=1).sum()) for part in parts]
    assert sum(shares) == 7 and max(shares) - min(shares) <= 1
    np.testing.assert_allclose(sum(part.features for part in parts), whole.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sum(part.logits for part in parts), whole.logits, rtol=1e-4, atol=1e-5)
