"""Accuracy of one step against brute force and hand-made tables."""

from collections import Counter

import numpy as np
import pytest

from der.evaluation.metrics import breakdown, confusion_matrix, ranks


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_ranks_refuse_nan() -> None:
    with pytest.raises(AssertionError):
        ranks(np.array([[0.0, np.nan]]), np.array([0]))


def test_breakdown_of_a_hand_made_table() -> None:
    #   label:           0  0  0  0  1  1  2  3  3  3
    ranks_B = np.array([0, 0, 0, 5, 0, 1, 0, 4, 5, 0])
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 3])
    steps = [["a", "b"], ["c"], ["d"]]
    assert breakdown(ranks_B, labels, steps, group_labels=3) == {
        "top1": 60.0,
        "top5": 80.0,  # ranks 0 to 4
        "old": 71.4286,  # 5 of the 7 images of labels 0, 1, 2, not the mean of their accuracies
        "new": 33.3333,
        "per_step": {"1": 66.6667, "2": 100.0, "3": 33.3333},
        "per_group": {"0-2": 71.4286, "3-3": 33.3333},
        "per_class": {"a": 75.0, "b": 50.0, "c": 100.0, "d": 33.3333},
    }


@pytest.mark.parametrize("classes", [9, 10, 11, 20, 21])
def test_no_group_is_lost(classes: int, rng: np.random.Generator) -> None:
    labels = np.repeat(np.arange(classes), 5)
    ranks_B = rng.integers(0, 3, size=labels.size)
    result = breakdown(ranks_B, labels, [[str(c) for c in range(classes)]], group_labels=10)
    right: Counter[int] = Counter()
    for label, rank in zip(labels.tolist(), ranks_B.tolist(), strict=True):
        right[label // 10] += rank == 0
    assert len(result["per_group"]) == -(-classes // 10)
    for group, (name, accuracy) in enumerate(result["per_group"].items()):
        first, last = 10 * group, min(10 * group + 9, classes - 1)
        assert name == f"{first}-{last}"
        assert accuracy == pytest.approx(100 * right[group] / (5 * (last - first + 1)), abs=5e-5)


def test_first_step_has_no_old_classes() -> None:
    result = breakdown(np.array([0, 1]), np.array([0, 1]), [["a", "b"]], group_labels=10)
    assert result["old"] is None
    assert result["new"] == result["top1"] == 50.0


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_top5_counts_every_image_with_up_to_five_classes(classes: int, rng: np.random.Generator) -> None:
    labels = np.arange(classes)
    ranks_B = ranks(rng.normal(size=(classes, classes)), labels)
    result = breakdown(ranks_B, labels, [[str(c) for c in range(classes)]], group_labels=10)
    assert result["top5"] == 100.0


def test_class_without_test_image_is_refused() -> None:
    with pytest.raises(AssertionError):
        breakdown(np.array([0, 0]), np.array([0, 2]), [["a", "b", "c"]], group_labels=10)


def test_confusion_matrix_counts_pairs(rng: np.random.Generator) -> None:
    labels, predicted = rng.integers(0, 6, size=(2, 400))
    expected = np.zeros((8, 8), np.int64)  # classes 6 and 7 never occur
    for true, guess in zip(labels, predicted, strict=True):
        expected[true, guess] += 1
    counts = confusion_matrix(labels, predicted, 8)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.int64
