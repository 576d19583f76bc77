"""Layers that draw from torch's own generator: the same draws in an epoch, and nothing of the caller's."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from der.core.randomness import generator, lending
from der.model.checkpoint import Checkpoint
from der.model.timm import TimmExtractor, build_timm, find_model
from tests.builders import (
    CPU,
    Killed,
    Killer,
    MemoryKeeper,
    Recorder,
    phase_settings,
    same_bits,
    step_run,
    take_step,
    train_settings,
    training_images,
    weights,
)
from tests.train import dropping

SETTINGS = train_settings(base=phase_settings(epochs=3))


def teach(keeper: MemoryKeeper | None = None, listener: Recorder | None = None) -> Checkpoint:
    return take_step(
        None, [["a", "b"]], training_images(1, [9, 8]), SETTINGS, listener, dropping.SETTINGS, keeper
    )


def test_a_resumed_step_gives_the_same_bits_whatever_was_drawn_before() -> None:
    keeper = MemoryKeeper()
    with pytest.raises(Killed):
        teach(keeper, Killer(4))
    torch.rand(3)
    resumed, whole = teach(keeper), teach()
    assert same_bits(weights(resumed.network), weights(whole.network))


def test_every_epoch_has_other_draws() -> None:
    run = step_run(0, SETTINGS)
    seen = set()
    for phase, epoch in (("representation", 0), ("representation", 1), ("classifier", 0)):
        with lending(run.own_stream(phase, epoch), CPU):
            seen.add(float(torch.rand(())))
    assert len(seen) == 3


def test_draws_are_those_of_the_stream_and_the_caller_s_go_on() -> None:
    before = torch.get_rng_state()
    with lending(generator(0, "a"), CPU):
        first = torch.rand(4)
    assert torch.equal(first, torch.rand(4, generator=generator(0, "a")))
    assert torch.equal(torch.get_rng_state(), before)


def drop_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have timm's smallest model drop paths and features, as others do unless told otherwise."""
    create = timm.create_model

    def dropping(name: str, **options: Any) -> Any:
        return create(name, **options, drop_rate=0.5, drop_path_rate=0.5)

    monkeypatch.setattr(timm, "create_model", dropping)


def test_stages_that_are_kept_drop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_more(monkeypatch)
    extractor = build_timm(find_model("timm:test_efficientnet"), 3, "last").train()
    assert isinstance(extractor, TimmExtractor)
    dropping = {
        name: module.training
        for name, module in extractor.model.named_modules()
        if type(module).__name__ == "DropPath"
    }
    assert any(dropping.values()) and not all(dropping.values())
    assert all(name.startswith("blocks.4.") == training for name, training in dropping.items())
    with torch.no_grad():
        kept = nn.Sequential(extractor.model.conv_stem, extractor.model.bn1, *extractor.model.blocks[:4])
        found = [kept(torch.ones(2, 3, 32, 32)) for _ in range(2)]
    assert torch.equal(*found)
