"""Generators named after their purpose."""

import hashlib
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from der.core.randomness import Diverted, generator


def values(seed: int, *purpose: str | int) -> list[int]:
    return torch.randint(2**31, (4,), generator=generator(seed, *purpose)).tolist()


def test_every_purpose_has_its_own_draws() -> None:
    purposes = [
        (0,),
        (1,),
        (0, "flip"),
        (1, "flip"),
        (0, "crop"),
        *((0, "flip", step, epoch) for step, epoch in itertools.product((1, 2, 11, 12), repeat=2)),
        (0, "flip", 1112),
        (2**32 - 1, "flip"),
    ]
    assert len({tuple(values(*purpose)) for purpose in purposes}) == len(purposes)


def test_the_seed_is_that_of_a_hash_so_that_no_machine_or_version_changes_it() -> None:
    digest = hashlib.sha256(b"5/flip/2/3").digest()
    expected = int.from_bytes(digest[:8], "little") // 2
    assert generator(5, "flip", 2, 3).initial_seed() == expected


BUILT: list[Callable[[], object]] = [
    lambda: nn.Linear(3, 4),
    lambda: nn.Conv2d(3, 4, 3),
    lambda: nn.Embedding(3, 4),
    lambda: nn.TransformerEncoderLayer(4, 2),
    lambda: nn.init.trunc_normal_(torch.empty(3)),
    lambda: nn.init.kaiming_normal_(torch.empty(3, 3)),
    lambda: nn.Parameter(torch.randn(3)),
    lambda: torch.empty(3).bernoulli_(0.5),
]


@pytest.mark.parametrize("build", BUILT)
def test_first_values_of_modules_are_drawn_beside_the_global_one(build: Callable[[], object]) -> None:
    state = torch.get_rng_state()
    with Diverted():
        build()
    assert torch.equal(torch.get_rng_state(), state)
