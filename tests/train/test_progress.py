"""What training shows on a terminal and elsewhere, its log, and curves as TensorBoard reads them."""

import io
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from der.train.log import EpochRecord, Progress, TensorBoard, warn

# Of packages that TensorBoard imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def train(progress: Progress, epochs: int = 40, done: int = 0, later: int = 0) -> None:
    with progress:
        progress.on_step({"representation": epochs, **({"classifier": later} if later else {})})
        progress.on_phase("representation", epochs, 100)
        if done:
            progress.on_resume(done)
        for epoch in range(done + 1, epochs + 1):
            for _ in range(4):
                progress.on_images(25)
            progress.on_epoch(EpochRecord("representation", epoch, 0.1, 1 / epoch, 0.0, 50.0))


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_one_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress("train_task 2")
    progress.bar.mininterval = 0
    train(progress, later=10)
    warn("something odd")
    shown = terminal.getvalue()
    assert re.search(r"train_task 2  80%\|.*left, epoch 39/50, [\d,]+ images/s, loss 0\.0256", shown)
    assert shown.endswith("warning: something odd\n")
    assert capsys.readouterr().out == ""


def test_elsewhere_there_are_a_dozen_lines(capsys: pytest.CaptureFixture[str]) -> None:
    train(Progress("train_task 2"), done=5)
    captured = capsys.readouterr()
    first, *lines = captured.out.splitlines()
    assert first == "train_task 2, representation: going on after epoch 5 of 40"
    pattern = (
        r"train_task 2, representation: epoch (\d+)/40, loss 0\.\d{4}, accuracy 50\.00 %, [\d,]+ images/s, "
        r"\d\d:\d\d left"
    )
    found = [match for match in map(re.compile(pattern).fullmatch, lines) if match]
    assert [int(match[1]) for match in found] == [8, 12, 16, 20, 24, 28, 32, 36, 40] and len(lines) == 9
    assert captured.err == ""


def test_an_unplanned_phase_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("a step")
    train(progress, epochs=1)
    progress.on_phase("own", 2, 10)
    progress.on_epoch(EpochRecord("own", 1, 0.1, 0.5, 0.0, 50.0))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a step, representation: epoch 1/1, ")
    assert lines[1].startswith("a step, own: epoch 1/2, ") and len(lines) == 2


TAGS = {"loss", "auxiliary_loss", "accuracy", "learning_rate", "images_per_second"}


def points(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The points of every curve in a folder, epoch and value."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    events = pytest.importorskip(module).EventAccumulator(str(directory))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def write(directory: Path, *epochs: int, resumed: int = 0, loss: Callable[[int], float] = float) -> None:
    """A run that trains these epochs of a phase, and is killed then."""
    board = TensorBoard(directory)
    board.begin("representation", resumed)
    for epoch in epochs:
        board.add(EpochRecord("representation", epoch, 0.1 / epoch, loss(epoch), 0.5, 90.0 + epoch), 25.0)


@pytest.mark.slow
def test_a_resumed_phase_has_each_epoch_once_and_a_new_one_forgets_the_old(tmp_path: Path) -> None:
    states = torch.get_rng_state(), random.getstate()
    write(tmp_path, 1, 2, 3, 4)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    write(tmp_path, 3, 4, 5, resumed=2, loss=lambda epoch: 10.0 * epoch)  # the state was two epochs older
    write(tmp_path, 6, resumed=5)
    found = points(tmp_path / "representation")
    assert set(found) == TAGS
    assert found["loss"] == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50), (6, 6)]
    assert found["accuracy"][:2] == [(1, 91.0), (2, 92.0)]
    assert [value for _, value in found["learning_rate"][:3]] == pytest.approx([0.1, 0.05, 0.1 / 3])
    write(tmp_path, 1, loss=lambda epoch: 7.0)
    assert points(tmp_path / "representation")["loss"] == [(1, 7.0)]
