"""Several processes compute what one does: to rounding after a step of the optimiser; resumed, the same."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.locations import ROOT
from tests.train.rank_program import CASES, OUTPUTS, RESUMED, TUNED

pytestmark = pytest.mark.slow

# Of the largest value, after one step of the optimiser: sums are made in another order.
TOLERANCE = {"float32": 5e-6, "bfloat16": 5e-2}
Found = dict[str, dict[str, torch.Tensor]]  # by case


def train(place: Path, *counts: int) -> list[list[Found]]:
    """For each of ``counts``, what every rank comes to."""
    line = [sys.executable, "-m", "tests.train.rank_program", str(place), *map(str, counts)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(line, env=environment, cwd=ROOT, start_new_session=True) as program:
        try:
            assert program.wait(200) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
    return [
        [torch.load(place / f"{number}/{rank}.pt") for rank in range(count)]
        for number, count in enumerate(counts)
    ]


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
        for case in (*CASES, *TUNED, OUTPUTS)
    }


# One test, so that no two test processes do the same work.
def test_several_compute_what_one_does_and_all_of_them_the_same_bits(tmp_path: Path) -> None:
    (one,), three = train(tmp_path, 1, 3)
    assert {case: far for case, far in furthest(one, three[0]).items() if far > 1} == {}
    assert all(same(three[0], other) for other in three[1:])
    for found in (one, *three):
        assert not any(difference.count_nonzero() for difference in found[RESUMED].values())
