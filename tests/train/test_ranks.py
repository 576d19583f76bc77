"""Several processes compute what one does: to rounding after a step of the optimiser, and twice the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.locations import ROOT
from tests.train.rank_program import CASES, TUNED

# Of the largest value, after one step of the optimiser: sums are made in another order.
TOLERANCE = {"float32": 5e-6, "bfloat16": 5e-2}
Found = dict[str, dict[str, torch.Tensor]]  # by case


def train(processes: int, place: Path) -> list[Found]:
    """What every rank comes to."""
    place.mkdir()
    outs = [place / f"{rank}.pt" for rank in range(processes)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "GLOO_SOCKET_IFNAME": "lo"}
    program = [sys.executable, "-m", "tests.train.rank_program"]
    running = [
        subprocess.Popen(
            [*program, str(rank), str(processes), str(place / "store"), str(out)], env=environment, cwd=ROOT
        )
        for rank, out in enumerate(outs)
    ]
    assert [one.wait(200) for one in running] == [0] * processes
    return [torch.load(out) for out in outs]


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return train(1, tmp_path_factory.mktemp("ranks") / "one")[0]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return train(2, tmp_path_factory.mktemp("ranks") / "two")


@pytest.fixture(scope="module")
def by_three(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return train(3, tmp_path_factory.mktemp("ranks") / "three")


def same(left: Found, right: Found) -> bool:
    return all(
        torch.equal(value, right[case][name]) for case, found in left.items() for name, value in found.items()
    )


@pytest.mark.parametrize("case", [*CASES, *TUNED])
def test_an_epoch_by_several_is_that_by_one(
    case: str, by_one: Found, by_two: list[Found], by_three: list[Found]
) -> None:
    bound = TOLERANCE[CASES[case].precision if case in CASES else "float32"]
    for several in (by_two, by_three):
        for name, value in by_one[case].items():
            assert (several[0][case][name] - value).abs().max() <= bound * value.abs().max(), name


def test_every_rank_comes_to_the_same_bits_and_again(
    by_two: list[Found], by_three: list[Found], tmp_path: Path
) -> None:
    assert same(by_three[0], by_three[1]) and same(by_three[0], by_three[2])
    again = train(2, tmp_path / "again")
    assert all(same(by_two[0], other) for other in (by_two[1], *again))
