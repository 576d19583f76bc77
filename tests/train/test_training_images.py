"""The training images of a step, and the log of its epochs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from der.data import image_rows
from der.data.arrays import write_images
from der.data.arrays import Memory, empty_memory
from der.data.arrays import ImageRows, every_row
from der.train import feed
from der.train.log import EpochRecord, write_log
from der.train.batches import Gatherer, TrainingImages, copy_to, gather_step
from tests.builders import (
    CPU,
    augmentation_settings,
    build_engine,
    build_objective,
    draws_of,
    phase_settings,
    random_images,
    random_network,
)


def flat(images: TrainingImages) -> list[tuple[int, bytes]]:
    pixels = images.pixels.copy()
    return [(int(label), image.tobytes()) for label, image in zip(images.labels, pixels, strict=True)]


def labelled(images: np.ndarray, label: int) -> list[tuple[int, bytes]]:
    return [(label, image.tobytes()) for image in images]


def test_the_first_step_has_new_classes_alone() -> None:
    new = [random_images(1, 3), random_images(2, 4)]
    step = gather_step(new, empty_memory())
    assert sorted(flat(step)) == sorted(labelled(new[0], 0) + labelled(new[1], 1))
    assert step.labels.dtype == np.int64


def test_new_classes_are_labelled_on_from_memory() -> None:
    new = [random_images(1, 3), random_images(2, 4)]
    exemplars = random_images(3, 5)
    memory = Memory(every_row([exemplars]), np.array([0, 0, 1, 2, 2]), np.zeros((3, 2), np.float32))
    expected = labelled(new[0], 3) + labelled(new[1], 4)
    expected += labelled(exemplars[:2], 0) + labelled(exemplars[2:3], 1) + labelled(exemplars[3:], 2)
    assert sorted(flat(gather_step(new, memory))) == sorted(expected)


def test_labels_without_images_are_refused() -> None:
    with pytest.raises(AssertionError):
        TrainingImages(every_row([random_images(0, 3)]), np.zeros(4, np.int64))


def test_images_are_picked_by_number() -> None:
    images = gather_step([random_images(1, 3), random_images(2, 2)], empty_memory())
    numbers = [4, 0, 3, 0]
    gatherer = Gatherer(images, CPU)
    pixels, labels = gatherer(torch.tensor(numbers))
    np.testing.assert_array_equal(pixels.numpy(), images.pixels.copy()[numbers])
    assert labels.tolist() == [1, 0, 1, 0]
    assert gatherer.values_per_image == 8 * 8 * 3


def test_those_picked_are_copied_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_rows, "CHUNK", 2 * 8 * 8 * 3)
    arrays = [random_images(1, 3), random_images(2, 4)]
    placed = copy_to(every_row(arrays).pick(np.array([6, 0, 3])), CPU)
    np.testing.assert_array_equal(placed.numpy(), [arrays[1][3], arrays[0][0], arrays[1][0]])


def test_what_will_be_read_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    deeds: list[object] = []
    monkeypatch.setattr(ImageRows, "expect", lambda images, rows: deeds.append(rows.tolist()))
    gatherer = Gatherer(gather_step([random_images(1, 4), random_images(2, 6)], empty_memory()), CPU)
    for start in range(0, 9, 3):
        gatherer.expect(torch.arange(start, start + 3))
        gatherer(torch.arange(start, start + 3))
    assert deeds == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_training_on_mapped_images_gives_the_bytes_of_training_on_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_rows, "HELD", 6 * 8 * 8 * 3)  # let go of in the midst of an epoch
    monkeypatch.setattr(feed, "WINDOW_VALUES", 1)
    arrays = [random_images(1, 7), random_images(2, 6)]
    for number, array in enumerate(arrays):
        write_images(tmp_path / f"{number}.npy", every_row([array]))
    on_disk = [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(2)]
    states = []
    for found in (arrays, on_disk):
        objective = build_objective(random_network([2]), 0)
        images, phase = gather_step(found, empty_memory()), phase_settings(batch_size=4)
        engine = build_engine(objective, [], images, phase, augmentation_settings())
        means = engine.run_epoch(draws_of(13, augmentation_settings()), 0.1, lambda _: None)
        states.append((means, engine.pack().numpy().tobytes()))
    assert states[0] == states[1]


def test_log_of_two_epochs(tmp_path: Path) -> None:
    write_log(
        tmp_path / "1",
        [EpochRecord("first", 1, 0.1, 2.5, 0.0, 12.5), EpochRecord("second", 2, 0.01, 1.0, 0.5, 100.0)],
    )
    assert (tmp_path / "1/log.csv").read_bytes() == (
        b"phase,epoch,learning_rate,loss,auxiliary_loss,accuracy\n"
        b"first,1,0.1,2.5,0.0,12.5\nsecond,2,0.01,1.0,0.5,100.0\n"
    )
