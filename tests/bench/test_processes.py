"""The bench of several processes: what it makes of what it measures, and of a process that fails."""

import pytest

from bench.processes import Contender, differences, run_turn


def test_differences_are_of_two_processes_to_one_at_the_same_seed() -> None:
    rows = [
        {"seed": seed, "processes": processes, "average_top1": average, "last_top1": last}
        for seed, processes, average, last in (
            (0, 1, 99, 98),
            (0, 2, 98, 98.5),
            (1, 1, 97, 90),
            (1, 2, 99, 90),
        )
    ]
    assert differences(rows) == {
        "average_top1": {"by_seed": [-1, 2], "mean": 0.5},
        "last_top1": {"by_seed": [0.5, 0], "mean": 0.25},
    }


def test_a_process_that_fails_ends_the_bench(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="a process of 1 failed"):
        run_turn(Contender(1, 1), "no such case", "float32")
    assert "ValueError" in capfd.readouterr().err
