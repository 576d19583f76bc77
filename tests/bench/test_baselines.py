"""The record of the baselines is complete, and pages show what is measured."""

import json
from pathlib import Path

import numpy as np
import pytest

import der
from bench import additions, baselines
from tests.locations import ROOT


@pytest.mark.parametrize("place", sorted((ROOT / baselines.RESULTS).glob("*.json")), ids=lambda one: one.stem)
def test_the_page_shows_the_record(place: Path) -> None:
    record = json.loads(place.read_text(encoding="utf-8"))
    seeds = {
        method: [row["seed"] for row in record["runs"] if row["method"] == method]
        for method in baselines.KEPT
    }
    assert len({tuple(sorted(found)) for found in seeds.values()}) == 1 and len(seeds["DER"]) >= 3
    assert {row["method"] for row in record["runs"]} == set(baselines.KEPT)
    page = (ROOT / baselines.PAGE).read_text(encoding="utf-8")
    assert baselines.format_rows(record["runs"]) in page
    assert f"over {len(seeds['DER'])} seeds" in page


@pytest.mark.parametrize("comparison", additions.COMPARISONS.values(), ids=[*additions.COMPARISONS])
def test_the_page_shows_what_additions_bring(comparison: additions.Comparison) -> None:
    table = additions.format_rows(additions.read_rows(ROOT / comparison.rows))
    assert table in (ROOT / additions.PAGE).read_text(encoding="utf-8")


def test_an_addition_is_compared_with_the_plain_runs_of_its_seeds() -> None:
    tops = {("plain", 0): [90.0, 80.0], ("plain", 1): [90.0, 84.0], ("plain", 2): [10.0, 10.0]}
    tops |= {("cutout", 0): [92.0, 81.0], ("cutout", 1): [90.0, 87.0]}  # gains 1.5 and 1.5; 1 and 3
    rows = [{"arm": arm, "seed": seed, "test": top, "held_out": top} for (arm, seed), top in tops.items()]
    gains = "87.50, +1.50 ± 0.00 | 84.00, +2.00 ± 1.00"
    assert f"| cutout | 2 | {gains} | {gains} |" in additions.format_rows(rows)


def test_a_row_has_means_and_standard_errors() -> None:
    tops = ([90.0, 80.0], [100.0, 84.0], [95.0, 79.0])  # averages 85, 92, 87; last 80, 84, 79
    rows = [
        {"method": method, "seed": seed, "top1": top1, "core_seconds": 10.0 + seed}
        for method in baselines.KEPT
        for seed, top1 in enumerate(tops)
    ]
    # Of 85, 92, 87 and 80, 84, 79: means 88 and 81, deviations sqrt(13) and sqrt(7).
    errors = f"88.00 ± {np.sqrt(13 / 3):.2f} | 81.00 ± {np.sqrt(7 / 3):.2f} | 11 |"
    assert f"| DER | 200 | {errors}" in baselines.format_rows(rows)


def test_steps_are_those_of_preset_digits() -> None:
    steps, protocol = baselines.list_digits(), der.preset("digits").protocol
    counts = [len(set(step.new[1])) for step in steps]
    assert counts == [protocol.first_classes, *[protocol.later_classes] * 3]
    for number, step in enumerate(steps):
        assert sorted(set(step.tests[1])) == sorted(set(step.seen[1])) == [*range(sum(counts[: number + 1]))]
        assert len(step.seen[0]) == sum(len(one.new[0]) for one in steps[: number + 1])
        assert not {image.tobytes() for image in step.tests[0]} & {image.tobytes() for image in step.seen[0]}
