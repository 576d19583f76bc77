"""What several tests of training start from."""

import pytest

from tests.train.hand import Hand


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """What tells the time to those who measure it."""
    hand = Hand()
    monkeypatch.setattr("time.perf_counter", hand)
    return hand
