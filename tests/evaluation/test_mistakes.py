"""Mistakes: the most confident against a formula of another kind, and the directory that holds them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from der.core.errors import UserError
from der.core.files import read_json
from der.core.sealed import seal, sealed_directory
from der.evaluation.mistakes import (
    MOST,
    MOST_PIXELS,
    SUREST,
    Mistake,
    Mistakes,
    find_mistakes,
    most_mistakes,
    read_mistakes,
    with_images,
    write_mistakes,
)
from der.evaluation.predictions import predict
from tests.builders import random_images

NAMES = ["ant", "bee", "cat", "dog"]


def save(path: Path, mistakes: Mistakes) -> None:
    """In a directory of their own."""
    with sealed_directory(path) as directory:
        write_mistakes(directory, mistakes)


def softmax(logits: list[float]) -> list[float]:
    """As it is written in books."""
    powers = [math.exp(logit) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def find(logits: Any, labels: Any, most: int = MOST) -> Any:
    return find_mistakes(predict(np.asarray(logits)), np.asarray(labels), NAMES, most)


@pytest.mark.parametrize("images", [5, 400])
def test_order_matches_sorting_by_softmax(images: int) -> None:
    rng = np.random.default_rng(images)
    logits = rng.normal(0, 3, (images, 4)).astype(np.float32)
    labels = rng.integers(0, 4, images)
    wrong = []
    for index in range(images):
        probabilities = softmax(logits[index].tolist())
        predicted = probabilities.index(max(probabilities))
        if predicted != labels[index]:
            wrong.append((-max(probabilities), index, NAMES[labels[index]], NAMES[predicted]))
    found = find(logits, labels)
    assert len(found) == len(wrong)
    for entry, (minus, index, true, predicted_name) in zip(found, sorted(wrong), strict=True):
        assert (entry.index, entry.true, entry.predicted) == (index, true, predicted_name)
        assert entry.probability == pytest.approx(-minus, abs=1e-6)


def test_equal_probabilities_keep_their_order() -> None:
    logits = np.tile(np.array([[2.0, 0.0, 0.0, 0.0]]), (2 * SUREST, 1))
    logits[70] = [9.0, 0.0, 0.0, 0.0]
    found = find(logits, np.ones(2 * SUREST, np.int64), SUREST)
    assert [entry.index for entry in found] == [70, *range(SUREST - 1)]


def test_every_pair_has_its_turn_after_the_surest() -> None:
    # 60 sure mistakes of one pair, then 5 unsure ones of another: there is room for three beyond the surest.
    logits = np.array([[5.0, 0, 0, 0]] * 60 + [[0, 0, 1.0, 0]] * 5)
    found = find(logits, [1] * 60 + [3] * 5, SUREST + 3)
    assert [entry.index for entry in found] == [*range(SUREST), 60, 61, 62]


def test_how_many_are_kept_depends_on_their_size() -> None:
    assert most_mistakes(8 * 8) == most_mistakes(32 * 32) == MOST
    assert most_mistakes(64 * 64) == MOST_PIXELS // 64**2
    assert most_mistakes(224 * 224) == SUREST


def test_large_logits_do_not_overflow() -> None:
    found = find(np.array([[1e4, -1e4, 0.0, 0.0]], np.float32), [1])
    assert found == [Mistake("bee", "ant", 1.0, 0)]


def test_pictures_are_those_of_the_indices() -> None:
    tests = [random_images(label, count) for label, count in enumerate((3, 1, 5))]
    entries = find(np.eye(3)[[1, 0, 1, 0, 0, 1, 2, 1, 0]], np.repeat([0, 1, 2], (3, 1, 5)))
    mistakes = with_images(entries, tests)
    together = np.concatenate(tests)
    assert len(entries) == 7
    for image, entry in zip(mistakes.images, entries, strict=True):
        np.testing.assert_array_equal(image, together[entry.index])


def test_no_mistake_at_all_survives_the_files(tmp_path: Path) -> None:
    tests = [random_images(0, 2)]
    save(tmp_path / "1", with_images(find(np.ones((2, 1)), np.zeros(2, int)), tests))
    loaded = read_mistakes(tmp_path / "1")
    assert loaded.entries == []
    assert loaded.images.shape == (0, *tests[0].shape[1:]) and loaded.images.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mistakes.json", "[", r"mistakes\.json: cannot be read as JSON"),
        ("mistakes.json", '[{"true": "ant"}]', r"mistakes\.json: no list of mistakes"),
        ("mistakes.json", "[1]", r"mistakes\.json: no list of mistakes"),
        ("mistakes.json", '["true"]', r"mistakes\.json: no list of mistakes"),
        ("mistakes.json", "[]", r"1 images but 0 mistakes; run the step's evaluation again"),
        ("mistakes.npy", "half", r"mistakes\.npy: cannot be read as a \.npy array"),
    ],
)
def test_damaged_files_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    entries = find([[1.0, 0.0]], [1])
    save(tmp_path / "1", Mistakes(random_images(0, 1), entries))
    assert read_mistakes(tmp_path / "1").entries == entries
    (written,) = read_json(tmp_path / "1" / "mistakes.json")
    assert [*written] == ["true", "predicted", "probability", "number"]
    (tmp_path / "1" / name).write_text(content)
    seal(tmp_path / "1", {})
    with pytest.raises(UserError, match=message):
        read_mistakes(tmp_path / "1")


@pytest.mark.parametrize("images", [np.uint8(1), np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8), np.uint8)])
def test_other_arrays_are_no_pictures(images: Any, tmp_path: Path) -> None:
    entries = find([[1.0, 0.0]], [1])
    save(tmp_path / "1", Mistakes(images, entries))
    with pytest.raises(UserError, match=r"mistakes\.npy: no pictures; run the step's evaluation again$"):
        read_mistakes(tmp_path / "1")
