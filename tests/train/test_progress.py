"""What training shows on a terminal and elsewhere."""

import io
import re
import sys

import pytest

from der.train.log import EpochRecord, Progress, warn


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
