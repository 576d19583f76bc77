"""Events for TensorBoard, read as it reads them; training does not notice them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from der.train.step import TrainedStep, train_step
from der.train.log import Several
from der.train.log import EpochRecord
from der.train.log import Listener
from der.train.progress import TensorBoard
from tests.builders import (
    CPU,
    NETWORK,
    Killed,
    Killer,
    MemoryKeeper,
    Recorder,
    classifier_settings,
    incremental_settings,
    phase_settings,
    same_bits,
    train_settings,
    training_images,
    weights,
)

pytest.importorskip("tensorboard")
# Of packages that TensorBoard imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TAGS = {"loss", "auxiliary_loss", "accuracy", "learning_rate", "images_per_second"}
SETTINGS = train_settings(
    base=phase_settings(epochs=5),
    incremental=incremental_settings(
        epochs=5, rebalancing="classifier_learning", classifier=classifier_settings(epochs=3)
    ),
)


def refuse(sentence: str) -> None:
    raise AssertionError(sentence)


def points(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The points of every curve in a folder, epoch and value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def write(directory: Path, *epochs: int, resumed: int = 0, loss: Callable[[int], float] = float) -> None:
    """A run that trains these epochs of a phase, and is killed then."""
    board = TensorBoard(directory, refuse)
    board.on_phase("representation", 9, 100)
    if resumed:
        board.on_resume(resumed)
    for epoch in epochs:
        board.on_epoch(EpochRecord("representation", epoch, 0.1 / epoch, loss(epoch), 0.5, 90.0 + epoch))


def test_a_point_for_each_epoch_of_every_curve(tmp_path: Path) -> None:
    states = torch.get_rng_state(), random.getstate()
    write(tmp_path, 1, 2, 3)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    found = points(tmp_path / "representation")
    assert set(found) == TAGS
    assert found["loss"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert found["accuracy"] == [(1, 91.0), (2, 92.0), (3, 93.0)]
    assert found["auxiliary_loss"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert [value for _, value in found["learning_rate"]] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert all(value > 0 for _, value in found["images_per_second"])


def test_a_resumed_phase_has_each_epoch_once(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, 4)
    write(tmp_path, 3, 4, 5, resumed=2, loss=lambda epoch: 10.0 * epoch)  # the state was two epochs older
    write(tmp_path, 6, resumed=5)
    assert points(tmp_path / "representation")["loss"] == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50), (6, 6)]


def test_a_phase_that_begins_anew_forgets_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    other = tmp_path / "representation/notes.txt"
    other.touch()
    write(tmp_path, 1, loss=lambda epoch: 7.0)
    assert points(tmp_path / "representation")["loss"] == [(1, 7.0)]
    assert other.exists()


def teach(listener: Listener, keeper: MemoryKeeper | None = None) -> TrainedStep:
    """Two steps; the second one's result."""
    steps = [["a", "b"], ["c"]]
    keeper, first = keeper or MemoryKeeper(), MemoryKeeper()
    before = train_step(
        None, steps[:1], training_images(0, [9, 9]), NETWORK, SETTINGS, CPU, Recorder(), first
    ).checkpoint
    images = training_images(1, [4, 4, 9])
    return train_step(before, steps, images, NETWORK, SETTINGS, CPU, listener, keeper)


def assert_written(trained: TrainedStep, directory: Path, phase: str) -> None:
    """The curve of the loss is that of the records, each epoch once and in order."""
    losses = {one.epoch: one.loss for one in trained.records if one.phase == phase}
    found = points(directory / phase)["loss"]
    assert [epoch for epoch, _ in found] == list(losses)
    assert dict(found) == pytest.approx(losses, rel=1e-6)


def test_training_gives_the_same_bytes_with_and_without(tmp_path: Path) -> None:
    alone, recorder = teach(Recorder()), Recorder()
    with TensorBoard(tmp_path, refuse) as board:
        trained = teach(Several(recorder, board))
    assert same_bits(weights(trained.checkpoint.network), weights(alone.checkpoint.network))
    assert trained.checkpoint.metadata == alone.checkpoint.metadata
    assert recorder.records == trained.records == alone.records
    for phase in ("representation", "classifier"):
        assert_written(alone, tmp_path, phase)


def test_a_killed_training_goes_on_in_its_curves(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    for batches in (2 * 3 + 1, 4):  # in the third epoch, then in the one after it
        with pytest.raises(Killed):
            teach(Several(Killer(batches), TensorBoard(tmp_path, refuse)), keeper)
    trained = teach(Several(TensorBoard(tmp_path, refuse)), keeper)
    assert_written(trained, tmp_path, "representation")


def test_a_full_disk_ends_the_curves_and_not_the_training(tmp_path: Path) -> None:
    (tmp_path / "representation").write_text("a file where the folder should be", encoding="utf-8")
    warnings: list[str] = []
    board = TensorBoard(tmp_path, warnings.append)
    board.on_phase("representation", 9, 100)
    for epoch in (1, 2):
        board.on_epoch(EpochRecord("representation", epoch, 0.1, 1.0, 0.5, 90.0))
    assert warnings == [f"{tmp_path}: no curves from here on (File exists); training goes on"]
