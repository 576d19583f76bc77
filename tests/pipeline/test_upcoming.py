"""What is still to be trained, by the sizes of files that nobody opens."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from der.core.serialization import write_array
from der.data.arrays import empty_memory
from der.pipeline import upcoming
from der.pipeline.markers import mark_unused
from der.pipeline.paths import train_images
from der.pipeline.upcoming import exemplars, plan_run
from der.train.batches import TrainingImages, gather_step
from der.train.log import RunWork, plan_step
from tests.builders import incremental_settings, phase_settings, train_settings

TRAIN = train_settings(base=phase_settings(epochs=3), incremental=incremental_settings(epochs=5))
STEPS = [[4, 6], [5], [7, 2, 3]]


def image_array(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.zeros((count, 8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training images of three steps, and a chain that is longer."""
    monkeypatch.chdir(tmp_path)
    for step, sizes in enumerate(STEPS, start=1):
        for number, size in enumerate(sizes):
            write_array(train_images(step) / f"{number}.npy", image_array(size))
    mark_unused("train_task", 4, train_images(4))
    Path("params.yaml").write_text("memory: {budget: 7, allocation: total}\n", encoding="utf-8")


def images_of(*sizes: int) -> TrainingImages:
    return gather_step([image_array(size) for size in sizes], empty_memory())


def test_all_steps_to_come_with_their_exemplars() -> None:
    later = (
        plan_step(2, [3, 3, 5], TRAIN, expansion=True),
        plan_step(3, [2, 2, 2, 7, 2, 3], TRAIN, expansion=True),
    )
    assert plan_run(1, images_of(4, 6), TRAIN, expansion=True) == RunWork(0, later)
    assert plan_run(2, images_of(3, 3, 5), TRAIN, expansion=True) == RunWork(3, later[1:])
    assert plan_run(3, images_of(2, 2, 2, 7, 2, 3), TRAIN, expansion=True) == RunWork(8)


def test_no_file_of_a_later_step_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(upcoming, "read_params", lambda: {})
    monkeypatch.setattr(builtins, "open", lambda path, *_: opened.append(str(path)))
    monkeypatch.setattr(Path, "open", lambda path, *_: opened.append(str(path)))
    assert len(plan_run(1, images_of(4, 6), TRAIN, expansion=True).later) == 2
    assert opened == []


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"budget": 7, "allocation": "total"}, 2),
        ({"budget": 7, "allocation": "per_class"}, 7),
        ({"budget": 2, "allocation": "total"}, 1),
        ({"budget": "many", "allocation": "per_class"}, 1),
        ({"budget": 7}, 1),
        (None, 1),
    ],
)
def test_exemplars_of_whatever_the_parameters_hold(memory: Any, expected: int) -> None:
    assert exemplars(memory, 3) == expected


def test_epochs_that_rebalance_count_before_as_after() -> None:
    train = replace(TRAIN, incremental=replace(TRAIN.incremental, rebalancing="classifier_learning"))
    per_step = [3, *[5 + train.incremental.classifier.epochs] * 2]
    for step in (1, 2, 3):
        work = plan_run(step, images_of(*[1] * 6), train, expansion=True)
        assert work.epochs_before == sum(per_step[: step - 1])
