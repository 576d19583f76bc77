"""Several processes compute what one does: to rounding after a step of the optimiser, and twice the same."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.locations import ROOT
from tests.train.rank_program import CASES, STEPS

# Of the largest value, after one step of the optimiser: sums are made in another order.
TOLERANCE = {"float32": 2e-6, "bfloat16": 5e-2}
NUMBERS = count()


def train(processes: int, case: str, place: Path) -> list[Any]:
    """What every rank comes to."""
    number = next(NUMBERS)
    outs = [place / f"{number}-{rank}.pt" for rank in range(processes)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "GLOO_SOCKET_IFNAME": "lo"}
    words = [str(processes), str(place / f"{number}.store"), case]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.rank_program", str(rank), *words, str(out)],
            env=environment,
            cwd=ROOT,
        )
        for rank, out in enumerate(outs)
    ]
    assert [one.wait(120) for one in running] == [0] * processes
    return [torch.load(out) for out in outs]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_by_two_and_by_three_is_that_by_one(case: str, tmp_path: Path) -> None:
    (alone,) = train(1, case, tmp_path)
    for processes in (2, 3):
        first, *others = train(processes, case, tmp_path)
        assert all(same(first, other) for other in others)
        bound = TOLERANCE[CASES[case][1]]
        for name, value in alone.items():
            assert (first[name] - value).abs().max() <= bound * value.abs().max(), (processes, name)


def test_two_steps_by_two_twice_have_the_same_bits_in_every_process(tmp_path: Path) -> None:
    found = [*train(2, STEPS, tmp_path), *train(2, STEPS, tmp_path)]
    assert all(same(found[0], other) for other in found[1:])
