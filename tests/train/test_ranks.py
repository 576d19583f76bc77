"""Several processes compute what one does: to rounding after a step of the optimiser, and twice the same."""

import os
import subprocess
import sys
from pathlib import Path

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


def same(left: Found, right: Found) -> bool:
    return all(
        torch.equal(value, right[case][name]) for case, found in left.items() for name, value in found.items()
    )


def furthest(one: Found, several: Found) -> dict[str, float]:
    """By case, how far the second is from the first, in parts of what is allowed."""
    return {
        case: max(
            float((several[case][name] - value).abs().max() / value.abs().max())
            / TOLERANCE[CASES[case].precision if case in CASES else "float32"]
            for name, value in one[case].items()
        )
        for case in (*CASES, *TUNED)
    }


# One test, so that no two test processes do the same work.
def test_several_compute_what_one_does_and_all_of_them_the_same_bits_and_again(tmp_path: Path) -> None:
    (one,) = train(1, tmp_path / "one")
    two, three = train(2, tmp_path / "two"), train(3, tmp_path / "three")
    for several in (two, three):
        assert {case: far for case, far in furthest(one, several[0]).items() if far > 1} == {}
        assert all(same(several[0], other) for other in several[1:])
    assert same(two[0], train(2, tmp_path / "again")[0])
