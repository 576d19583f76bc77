"""A checkpoint that answers, against the network itself; pictures found and read in chunks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from der.core.device import choose_device
from der.core.errors import UserError
from der.data.sources.pictures import resize_all
from der.inference.predictor import Prediction, Predictor, list_pictures, load_predictor
from tests.builders import CPU, NORMALIZATION, random_checkpoint, random_images, save_steps

CLASSES = [3, 2]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_steps(tmp_path, random_checkpoint(CLASSES[:1]), random_checkpoint(CLASSES))


def expected(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Softmax of the network's logits, one image at a time, from the formula."""
    network = random_checkpoint(CLASSES).network
    rows = []
    for image in images:
        pixels = (image / 255 - np.array(NORMALIZATION.mean)) / np.array(NORMALIZATION.std)
        inputs = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            logits = network(inputs)[0].numpy().astype(np.float64)
        rows.append(np.exp(logits) / np.exp(logits).sum())
    return np.stack(rows)


def test_probabilities_against_the_network(saved: Path) -> None:
    images = random_images(0, 9)
    found = load_predictor(saved, CPU)(images)
    assert found.shape == (9, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(images), atol=1e-5)
    assert load_predictor(saved, CPU)(images[:0]).shape == (0, 5)


def test_a_copied_directory_is_enough(saved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "model"
    shutil.copytree(saved, elsewhere)
    for step in (saved.parent / "0", saved.parent / "1", saved):
        shutil.rmtree(step)
    images = random_images(0, 3)
    np.testing.assert_allclose(load_predictor(str(elsewhere), CPU)(images), expected(images), atol=1e-5)


def test_bfloat16_is_near(saved: Path) -> None:
    images = random_images(0, 9)
    found = load_predictor(saved, CPU, "bfloat16")(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(images), atol=0.05)
    assert not np.array_equal(found, load_predictor(saved, CPU)(images))


@pytest.mark.parametrize("shape", [(2, 11, 7, 3), (2, 11, 7), (2, 8, 8, 1), (2, 8, 8)])
def test_other_sizes_are_resized_as_training_images_are(shape: tuple[int, ...], saved: Path) -> None:
    images = np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8)
    alone = images[..., 0] if shape[-1] == 1 else images
    predictor = load_predictor(saved, CPU)
    np.testing.assert_array_equal(predictor(images), predictor(resize_all(alone, 8, 3)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 3)), r"float64 \(2, 8, 8, 3\) does not fit; give uint8 \(N, H, W, 1 or 3\)$"),
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\) does not fit; give"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"uint8 \(2, 8, 8, 4\) does not fit; give"),
        (np.zeros((8, 8, 3), np.uint8), r"\(8, 8, 3\) is one in colour, or .*; give \(N, H, W, 3\)"),
        ([[[0]]], r"int64 \(1, 1, 1\) does not fit; give uint8 \(N, H, W, 1 or 3\)$"),
    ],
)
def test_what_is_no_batch_of_images(images: Any, message: str, saved: Path) -> None:
    with pytest.raises(UserError, match=f"^images: {message}"):
        load_predictor(saved, CPU)(images)


def test_the_device_is_named_as_to_a_classifier(saved: Path) -> None:
    images = random_images(0, 2)
    assert load_predictor(saved).device == choose_device(None)
    np.testing.assert_array_equal(load_predictor(saved, "cpu")(images), load_predictor(saved, CPU)(images))
    with pytest.raises(UserError, match=r"^'gpu' is no device; write cuda, mps or cpu$"):
        load_predictor(saved, "gpu")


def test_best_of_every_image(saved: Path) -> None:
    images = random_images(0, 4)
    predictor = load_predictor(saved, CPU)
    for row, guesses in zip(predictor(images), predictor.best(images, 2), strict=True):
        first, second = np.argsort(row)[::-1][:2]
        assert guesses == [
            Prediction(f"class {first}", float(row[first])),
            Prediction(f"class {second}", float(row[second])),
        ]
    assert len(predictor.best(images, 9)[0]) == 5
    with pytest.raises(UserError, match=r"^count: 0 is none; give at least 1$"):
        predictor.best(images, 0)


def test_finite_weights_that_overflow_when_folded_are_refused() -> None:
    checkpoint = random_checkpoint([3])
    with torch.no_grad():
        for values in checkpoint.network.extractors[0].parameters():
            values.fill_(3e38)
    with pytest.raises(UserError, match=r"^the network's weights overflow where its normalisation is folded"):
        Predictor(checkpoint, CPU)


def test_scores_that_are_no_numbers_are_no_probabilities() -> None:
    checkpoint = random_checkpoint([3])
    with torch.no_grad():
        checkpoint.network.head.weight.fill_(3e38)
    predictor = Predictor(checkpoint, CPU)
    with pytest.raises(UserError, match=r"^the network's scores are not finite; train it again$"):
        predictor(random_images(0, 2))


def test_files_are_found_at_any_depth_in_order_without_debris(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", ".hidden.png", "b/.git/x.png", "b/Thumbs.db", "c/ü d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "b" / "2.png", tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b/2.png", "a.png", "b/10.png", "b/2.png", "c/ü d.png"]


def test_what_is_no_picture_by_its_name_is_passed_over_in_directories_alone(tmp_path: Path) -> None:
    for name in ("a.txt", "b.JSON", "c/d.csv", "e", "f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "a.txt", tmp_path])
    assert [path.name for path in found] == ["a.txt", "e", "f.png"]
    with pytest.raises(UserError, match=r"c: there is no picture in this directory$"):
        list_pictures([tmp_path / "c"])
