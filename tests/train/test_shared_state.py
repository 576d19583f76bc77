"""What the first rank reads and writes may take any time: the others wait before they expect answers."""

from collections.abc import Callable

import pytest
from torch import Tensor

from der.core import ranks
from der.train.log import EpochRecord
from der.train.resume import Saved
from der.train.shared_state import SharedState
from tests.builders import MemoryKeeper, Recorder, phase_settings, take_step, train_settings, training_images


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in this order."""
    found: list[str] = []
    share = ranks.share
    monkeypatch.setattr(ranks, "meet", lambda: found.append("meet"))
    monkeypatch.setattr(ranks, "share", lambda value: (found.append("share"), share(value))[1])
    return found


class Keeper(MemoryKeeper):
    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self.done = done

    def load(self, phase: str) -> Saved | None:
        self.done.append("load")
        return super().load(phase)

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        self.done.append("save")
        super().save(phase, records, pack, last=last)


class Hears(Recorder):
    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self.done = done

    def on_epoch(self, record: EpochRecord) -> None:
        self.done.append("hear")


def test_reading(done: list[str]) -> None:
    SharedState(Keeper(done)).load("a phase")
    assert done == ["load", "meet", "share"]


def test_writing(done: list[str]) -> None:
    settings = train_settings(base=phase_settings(epochs=2))
    keeper: MemoryKeeper = SharedState(Keeper(done))  # type: ignore[assignment]
    take_step(None, [["a", "b"]], training_images(1, [4, 4]), settings, Hears(done), keeper=keeper)
    saves = [place for place, what in enumerate(done) if what == "save"]
    assert len(saves) == 2
    assert all(done[place : place + 3] == ["save", "hear", "meet"] for place in saves)
