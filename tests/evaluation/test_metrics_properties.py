"""Ranks, breakdowns and confusion on any scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from der.evaluation.metrics import TOP_K, breakdown, confusion_matrix, ranks

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]

FEW_VALUES = st.sampled_from([-np.inf, -1.5, 0.0, -0.0, 1e-30, 2.0, 3.0, np.inf])  # so that many are equal
VALUES = FEW_VALUES | st.floats(width=32, allow_nan=False)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Scores, Labels]:
    """Scores (B, C) and labels (B,), a test image or more of every class."""
    classes = draw(st.integers(1, 8))
    more = draw(st.lists(st.integers(0, classes - 1), max_size=12))
    labels = draw(st.permutations([*range(classes), *more]))
    return draw(arrays(np.float32, (len(labels), classes), elements=VALUES)), np.array(labels)


@st.composite
def steps_of(draw: st.DrawFn, classes: int) -> list[list[str]]:
    """Any division of the classes into steps."""
    ends = sorted(draw(st.sets(st.integers(1, classes - 1)))) if classes > 1 else []
    names = [f"class {label}" for label in range(classes)]
    return [names[low:high] for low, high in zip([0, *ends], [*ends, classes], strict=True)]


@given(scored())
def test_a_rank_is_the_place_in_the_sorted_row(given_: tuple[Scores, Labels]) -> None:
    scores, labels = given_
    for row, label, rank in zip(scores.tolist(), labels.tolist(), ranks(scores, labels), strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        assert order[rank] == label


@given(scored())
def test_rank_zero_is_argmax_and_no_two_labels_share_a_rank(given_: tuple[Scores, Labels]) -> None:
    scores, labels = given_
    np.testing.assert_array_equal(ranks(scores, labels) == 0, scores.argmax(axis=1) == labels)
    every = np.stack([ranks(scores, np.full(len(labels), c)) for c in range(scores.shape[1])], axis=1)
    np.testing.assert_array_equal(
        np.sort(every, axis=1), np.tile(np.arange(scores.shape[1]), (len(labels), 1))
    )


@given(scored(), st.integers(1, 9), st.data())
def test_every_part_of_a_breakdown_adds_up(
    given_: tuple[Scores, Labels], group_labels: int, data: st.DataObject
) -> None:
    scores, labels = given_
    classes = scores.shape[1]
    steps = data.draw(steps_of(classes))
    ranks_B = ranks(scores, labels)
    found = breakdown(ranks_B, labels, steps, group_labels)
    right = ranks_B == 0
    counts = np.bincount(labels, minlength=classes)
    names = [name for step in steps for name in step]
    assert list(found["per_class"]) == names
    assert list(found["per_step"]) == [str(k) for k in range(1, len(steps) + 1)]
    assert len(found["per_group"]) == -(-classes // group_labels)

    def images_right(accuracies: dict[str, float], sizes: list[int]) -> float:
        """Images predicted right, of parts with so many classes each."""
        ends = np.cumsum(sizes)
        assert ends[-1] == classes
        images = [counts[end - size : end].sum() for end, size in zip(ends, sizes, strict=True)]
        return float(np.dot(list(accuracies.values()), images)) / 100

    groups = [min(group_labels, classes - low) for low in range(0, classes, group_labels)]
    for accuracies, sizes in (
        (found["per_class"], [1] * classes),
        (found["per_step"], [len(step) for step in steps]),
        (found["per_group"], groups),
    ):
        assert images_right(accuracies, sizes) == pytest.approx(right.sum(), abs=1e-3)
    assert found["top1"] == pytest.approx(100 * right.mean(), abs=1e-4)
    assert found["top1"] <= found["top5"] == pytest.approx(100 * (ranks_B < TOP_K).mean(), abs=1e-4)
    assert found["new"] == found["per_step"][str(len(steps))]
    assert (found["old"] is None) == (len(steps) == 1)


@given(scored())
def test_a_confusion_matrix_holds_every_image_once(given_: tuple[Scores, Labels]) -> None:
    scores, labels = given_
    predicted = scores.argmax(axis=1)
    counts = confusion_matrix(labels, predicted, scores.shape[1])
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=scores.shape[1]))
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(predicted, minlength=scores.shape[1]))
    assert np.trace(counts) == (ranks(scores, labels) == 0).sum()
