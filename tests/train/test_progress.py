"""What training shows: on a terminal of any width, and where there is none."""

import io
import re
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.train import bar
from der.train.bar import BarLine, Terminal, fit_line, show_time
from der.train.log import EpochRecord
from der.train.progress import Progress
from der.train.log import PhaseWork, RunWork

LATER = RunWork(40, ([PhaseWork("representation", 40, 100, 1.6)],))


def train(progress: Progress, epochs: int = 40, done: int = 0) -> None:
    with progress:
        progress.on_step([PhaseWork("representation", epochs, 100, 1.3)])
        progress.on_phase("representation", epochs, 100)
        if done:
            progress.on_resume(done)
        for epoch in range(done + 1, epochs + 1):
            for _ in range(4):
                progress.on_images(25)
            progress.on_epoch(EpochRecord("representation", epoch, 0.1, 1 / epoch, 0.0, 50.0))


class Screen(io.StringIO):
    """A terminal: what it shows, of the few commands that are in use, and all that it ever showed."""

    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.row = [""], 0
        self.seen: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[K|\x1b\[\d+A|\r|\n|[^\x1b\r\n]+", text):
            if part == "\n":
                self.row += 1
                self.rows += [""] * (self.row == len(self.rows))
            elif part.endswith("A"):
                self.row -= int(part[2:-1])
            elif part == "\x1b[K":
                self.rows[self.row] = ""
            elif part != "\r":
                self.rows[self.row] = part
                self.seen.append(part)
        return len(text)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr(bar, "sys", SimpleNamespace(stderr=screen))  # pytest has a standard error of its own
    monkeypatch.setenv("TERM", "xterm")
    ticks = count()
    monkeypatch.setattr("time.perf_counter", lambda: 0.02 * next(ticks))
    return screen


def test_two_bars_that_leave_nothing(screen: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    train(Progress("train_task 2", LATER))
    first, run = screen.seen[-2:]
    assert re.fullmatch(r"train_task 2  █+  epoch 40/40  0:00 left  [\d,]+ images/s  loss 0.0250", first)
    assert re.fullmatch(r"all steps     █+░+  epoch 81/120  \d+:\d\d left", run)
    assert screen.row == 0 and set(screen.rows) == {""}
    assert capsys.readouterr().out == ""


def test_one_bar_where_nothing_is_known_of_other_steps(screen: Screen) -> None:
    train(Progress("a title"))
    assert screen.seen and all(text.startswith("a title  ") for text in screen.seen)
    assert len(screen.rows) == 1


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 20, 5, 1])
def test_no_line_reaches_the_last_column(
    columns: int, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "_columns", lambda self: columns)
    train(Progress("train_task 2", LATER))
    assert max(map(len, screen.seen), default=0) <= min(columns, bar.WIDEST) - 1
    assert bool(screen.seen) == (columns > 1)


texts = st.lists(st.text("ab", min_size=1, max_size=20), max_size=5)


@given(st.floats(-1, 2), texts, st.integers(0, 120))
def test_a_line_fits_and_shows_what_matters_first(share: float, texts: list[str], columns: int) -> None:
    line = fit_line(BarLine("title", share, texts), columns)
    assert len(line) <= columns
    shown = [part for part in line.split("  ")[1:] if not set(part) <= set("█░")]
    assert shown[:-1] == texts[: max(0, len(shown) - 1)]
    marks = re.search("(█*)(░*)", line[7:])
    if marks is not None and marks[0]:
        assert bar.BAR[0] <= len(marks[0]) <= bar.BAR[1]
        assert len(marks[1]) == round(max(0, min(share, 1)) * len(marks[0]))


def test_an_old_terminal_has_letters_of_its_own(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "encoding", "ascii")
    train(Progress("train_task 2", LATER))
    assert screen.seen and all(text.isascii() for text in screen.seen)


def test_times() -> None:
    assert [show_time(seconds) for seconds in (None, 0.4, 9, 725, 11220.2, 90061)] == [
        "?",
        "0:00",
        "0:09",
        "12:05",
        "3:07:00",
        "25:01:01",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_dozen_lines_where_there_is_no_terminal(
    terminal: bool, screen: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # on which no cursor moves
    if not terminal:
        monkeypatch.setattr(bar, "sys", SimpleNamespace(stderr=io.StringIO()))
    train(Progress("train_task 2", LATER), done=5)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "train_task 2, representation: going on after epoch 5 of 40"
    pattern = (
        r"train_task 2, representation: epoch (\d+)/40, loss 0\.\d{4}, accuracy 50\.00 %, [\d,]+ images/s, "
        r"\d+:\d\d left, \d+:\d\d with later steps"
    )
    epochs = [int(match[1]) for match in map(re.compile(pattern).fullmatch, lines) if match]
    assert epochs == [8, 12, 16, 20, 24, 28, 32, 36, 40] and len(lines) == 9
    assert screen.seen == []
