"""Warm-up, and classifiers drawn anew when it ends."""

from typing import Any

import pytest
import torch

from der.core.errors import UserError
from der.core.randomness import generator
from der.model.backbones import HEAD_INITIALIZATIONS, torch_uniform
from der.model.network import Network, blank_linear, expand
from der.settings.network import NetworkSettings
from der.train import representation
from der.train.engine import Engine
from der.train.representation import learn_representation
from der.train.schedule import learning_rate
from tests.builders import (
    CHANNELS,
    NETWORK,
    MemoryKeeper,
    Weights,
    incremental_settings,
    network_settings,
    phase_settings,
    random_network,
    same_bits,
    step_run,
    train_settings,
    training_images,
    weights,
)

AUTHORS = phase_settings(epochs=170, learning_rate=0.1, milestones=[110, 130], decay=0.1, warmup_epochs=10)


@pytest.mark.parametrize(("first", "last", "rate"), [(9, 109, 0.1), (110, 129, 0.01), (130, 169, 0.001)])
def test_the_authors_rates(first: int, last: int, rate: float) -> None:
    for epoch in range(first, last + 1):
        assert learning_rate(AUTHORS, epoch) == pytest.approx(rate, rel=1e-12)


def test_the_authors_warm_up() -> None:
    table = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.1, 0.1]
    assert [learning_rate(AUTHORS, epoch) for epoch in range(12)] == pytest.approx(table, rel=1e-12)


def test_milestones_count_warm_up() -> None:
    settings = phase_settings(epochs=6, learning_rate=1.0, milestones=[1, 4], decay=0.5, warmup_epochs=2)
    assert [learning_rate(settings, epoch) for epoch in range(6)] == [0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_heads_without_warm_up_are_refused() -> None:
    message = r"^reinitialize_heads: there is no warm-up to end; write false, or warmup_epochs above 0$"
    with pytest.raises(UserError, match=message):
        phase_settings(reinitialize_heads=True)


IMAGES = training_images(0, [3, 3, 8, 8])


class Spy:
    """Looks at the classifiers and their momentum around the start of every epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[tuple[Weights, list[torch.Tensor]]] = []
        self.ends: list[tuple[Weights, list[torch.Tensor]]] = []
        run_epoch = Engine.run_epoch

        def spied(engine: Engine, *arguments: Any) -> Any:
            self.starts.append(self.look(engine))
            means = run_epoch(engine, *arguments)
            self.ends.append(self.look(engine))
            return means

        monkeypatch.setattr(Engine, "run_epoch", spied)

    def look(self, engine: Engine) -> tuple[Weights, list[torch.Tensor]]:
        momenta = [value.clone() for value in engine.optimizer.momenta.values()]
        return weights(engine.objective), momenta

    def moved(self) -> list[tuple[int, set[str], bool]]:
        """Epochs (from 0) before which values changed, which, and whether a momentum did."""
        result = []
        for epoch, (before, after) in enumerate(zip(self.ends, self.starts[1:], strict=False), start=1):
            names = {name for name in before[0] if not torch.equal(before[0][name], after[0][name])}
            momenta = any(not torch.equal(*pair) for pair in zip(before[1], after[1], strict=True))
            if names or momenta:
                result.append((epoch, names, momenta))
        return result


HEADS = {"head.weight", "head.bias", "auxiliary.weight", "auxiliary.bias"}


def learn(
    keeper: MemoryKeeper | None = None,
    epochs: int = 4,
    settings_of_network: NetworkSettings = NETWORK,
    **changes: Any,
) -> Network:
    stream = generator(0, "initialization", 2)
    network = expand(random_network([2]), 2, settings_of_network, CHANNELS, stream)
    settings = train_settings(incremental=incremental_settings(epochs=epochs, **changes))
    learn_representation(step_run(2, settings, keeper=keeper), network, IMAGES, settings_of_network)
    return network


@pytest.mark.parametrize("warmup", [1, 2, 3])
def test_both_classifiers_are_drawn_anew_when_warm_up_ends_and_nothing_else_is(
    warmup: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    learn(warmup_epochs=warmup, reinitialize_heads=True)
    assert spy.moved() == [(warmup, HEADS, False)]
    start = spy.starts[warmup][0]
    for name, features in (("head", 128), ("auxiliary", 64)):
        bound = features**-0.5
        assert 0.8 * bound < start[f"{name}.weight"].abs().max() <= bound
    assert not torch.isclose(start["head.weight"], spy.starts[0][0]["head.weight"]).any()


@pytest.mark.parametrize("name", HEAD_INITIALIZATIONS)
def test_only_their_start_is_drawn_as_the_network_s_settings_say(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authors' code resets both by torch's own method when warm-up ends."""
    spy = Spy(monkeypatch)
    named = network_settings(head_initialization=name)
    learn(settings_of_network=named, epochs=2, warmup_epochs=1, reinitialize_heads=True)
    before, after = blank_linear(64, 3, bias=True), blank_linear(64, 3, bias=True)
    HEAD_INITIALIZATIONS[name](before, generator(0, "auxiliary classifier", 2))
    stream = generator(0, "heads after warm-up", 2)
    torch_uniform(blank_linear(128, 4, bias=True), stream)
    torch_uniform(after, stream)
    for epoch, auxiliary in enumerate((before, after)):
        start = spy.starts[epoch][0]
        assert torch.equal(start["auxiliary.weight"], auxiliary.weight)
        assert torch.equal(start["auxiliary.bias"], auxiliary.bias)


@pytest.mark.parametrize("changes", [{}, {"warmup_epochs": 2}])
def test_otherwise_they_are_not(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    learn(**changes)
    assert spy.moved() == []


def test_the_first_step_can_do_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    settings = train_settings(base=phase_settings(epochs=3, warmup_epochs=1, reinitialize_heads=True))
    network = random_network([4])
    learn_representation(step_run(0, settings, step=1), network, IMAGES, NETWORK)
    assert spy.moved() == [(1, HEADS, False)]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_phase_resumed_around_that_epoch_gives_the_same_bits(
    epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"warmup_epochs": 2, "reinitialize_heads": True}
    whole = learn(**asked)
    keeper, calls = MemoryKeeper(), []
    run_epoch, draw = Engine.run_epoch, representation.torch_uniform

    def killed(engine: Engine, *arguments: Any) -> Any:
        if len(calls) == epochs:
            raise KeyboardInterrupt
        calls.append(1)
        return run_epoch(engine, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            learn(keeper, **asked)
    assert len(keeper.states["representation"].records) == epochs
    drawn: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(representation, "torch_uniform", lambda *arguments: drawn.append(1) or draw(*arguments))
        resumed = learn(keeper, **asked)
    assert len(drawn) == (2 if epochs <= 2 else 0)
    assert same_bits(weights(resumed), weights(whole))
