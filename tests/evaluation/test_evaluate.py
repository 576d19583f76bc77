"""What is said of test images, some at a time, is what is said of all at once."""

import numpy as np
import pytest

from der.core.errors import UserError
from der.evaluation.evaluate import judge_tests
from der.model.network import run_network
from tests.builders import CPU, random_checkpoint, random_images

CHECKPOINT = random_checkpoint([3, 2])
MEANS = np.random.RandomState(0).rand(5, 128).astype(np.float32)
TESTS = [random_images(seed, count) for seed, count in enumerate([4, 1, 6, 3, 2])]


def test_ranks_and_predictions_are_those_of_the_network_s_scores() -> None:
    judged = judge_tests(CHECKPOINT, MEANS, TESTS, CPU)
    whole = run_network(CHECKPOINT.network, CHECKPOINT.metadata.normalization, np.concatenate(TESTS), CPU)
    expected = np.array([0] * 4 + [1] + [2] * 6 + [3] * 3 + [4] * 2)
    assert judged.labels.tolist() == expected.tolist()
    best = np.argsort(-whole.logits, axis=1)
    assert judged.predictions.predicted.tolist() == best[:, 0].tolist()
    assert judged.ranks.tolist() == np.argmax(best == expected[:, None], axis=1).tolist()
    units = whole.features.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    nearest = np.argsort(np.linalg.norm(units[:, None] - MEANS, axis=2), axis=1)
    assert judged.nme_ranks.tolist() == np.argmax(nearest == expected[:, None], axis=1).tolist()
    exponents = np.exp(whole.logits - whole.logits.max(1, keepdims=True)).astype(np.float64)
    np.testing.assert_allclose(
        judged.predictions.confidence, (exponents / exponents.sum(1, keepdims=True)).max(1), rtol=1e-4
    )


def test_scores_that_are_not_finite_are_refused() -> None:
    checkpoint = random_checkpoint([3, 2])
    checkpoint.network.head.bias.data[1] = float("inf")
    with pytest.raises(UserError, match=r"^step 2: the network's scores are not finite; train it again$"):
        judge_tests(checkpoint, MEANS, TESTS, CPU)
