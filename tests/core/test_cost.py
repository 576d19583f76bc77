"""Clocks of work that waits, is interrupted and goes on."""

import pytest

from der.core.cost import Spent, WorkClock, show_seconds, waiting


def test_waiting_for_another_process_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = WorkClock()
    now[0] += 1
    with waiting():
        now[0] += 38
    later = WorkClock()
    now[0] += 1
    clock.earlier = Spent(5.0, 1)
    assert (clock.spent(), later.spent()) == (Spent(pytest.approx(7.0), 2), Spent(pytest.approx(1.0), 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (4980, "1 h 23 min"),
    ],
)
def test_a_length_of_time(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown
