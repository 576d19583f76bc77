"""The loss against the formula, value and gradient; channel masks against tables, autograd and counts."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from der.model.network import build_extractor
from der.model.resnet import BasicBlock, ResNet
from der.settings.sections import DistillationSettings, NetworkSettings
from der.train.objective import ChannelMasks, Compensated, Distillation, Loss, RepresentationObjective
from tests import builders

Wide = NDArray[np.float64]


def softmax(logits: Wide) -> Wide:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    result: Wide = exponentials / exponentials.sum(1, keepdims=True)
    return result


def cross_entropy(logits: Wide, labels: NDArray[np.int64]) -> tuple[float, Wide]:
    """Mean over images, and its gradient by the logits."""
    probabilities = softmax(logits)
    rows = np.arange(len(labels))
    loss = -np.log(probabilities[rows, labels]).mean()
    gradient = probabilities.copy()
    gradient[rows, labels] -= 1
    return float(loss), gradient / len(labels)


def wide(tensor: Tensor | None) -> Wide:
    assert tensor is not None
    return tensor.detach().double().numpy()


class Case:
    """Six images whose features are their own pixels: 3 old classes, 2 new, 5 frozen features, 4 new."""

    def __init__(self, weight: float) -> None:
        generator = torch.Generator().manual_seed(3)
        self.images = torch.randn(6, 1, 2, 2, generator=generator).requires_grad_()
        self.frozen = torch.randn(6, 5, generator=generator).requires_grad_()
        self.labels = torch.tensor([0, 1, 2, 3, 4, 4])
        self.head, self.auxiliary = nn.Linear(9, 5), nn.Linear(4, 3)
        for layer in (self.head, self.auxiliary):
            for parameter in layer.parameters():
                nn.init.normal_(parameter, generator=generator)
        objective = RepresentationObjective(nn.Flatten(), self.head, self.auxiliary, weight, None)
        self.loss: Loss = objective(self.images, self.frozen, self.labels, torch.tensor(0.0))


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.5])
def test_loss_and_gradients_against_the_formula(weight: float) -> None:
    case = Case(weight)
    case.loss.total.backward()  # type: ignore[no-untyped-call]
    pixels = wide(case.images).reshape(6, 4)
    u = np.concatenate([wide(case.frozen), pixels], axis=1)
    logits = u @ wide(case.head.weight).T + wide(case.head.bias)
    main, by_logits = cross_entropy(logits, np.array([0, 1, 2, 3, 4, 4]))
    auxiliary_logits = pixels @ wide(case.auxiliary.weight).T + wide(case.auxiliary.bias)
    auxiliary, by_auxiliary = cross_entropy(auxiliary_logits, np.array([0, 0, 0, 1, 2, 2]))

    right = logits.argmax(1) == case.labels.numpy()
    assert case.loss.correct.item() == pytest.approx(right.mean())
    assert case.loss.total.item() == pytest.approx(main + weight * auxiliary, rel=1e-5)
    assert case.loss.auxiliary.item() == pytest.approx(auxiliary if weight else 0, rel=1e-5)
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(wide(case.head.weight.grad), by_logits.T @ u, **close)
    np.testing.assert_allclose(wide(case.head.bias.grad), by_logits.sum(0), **close)
    by_pixels = (by_logits @ wide(case.head.weight))[:, 5:]
    by_pixels += weight * by_auxiliary @ wide(case.auxiliary.weight)
    np.testing.assert_allclose(wide(case.images.grad).reshape(6, 4), by_pixels, **close)
    if weight:
        np.testing.assert_allclose(
            wide(case.auxiliary.weight.grad), weight * by_auxiliary.T @ pixels, **close
        )
        np.testing.assert_allclose(wide(case.auxiliary.bias.grad), weight * by_auxiliary.sum(0), **close)
    else:
        assert case.auxiliary.weight.grad is None


KEPT = [[0, 1, 2, 3], [1]]  # channels that two frozen extractors have of the four of the new one


def distilled(features: float, logits: float, images: int = 6) -> tuple[Case, nn.Linear, Distillation]:
    """A case with the term alone in its loss, the previous classifier, and the term."""
    case, head = Case(0.0), nn.Linear(5, 3)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(4))
    term = Distillation(DistillationSettings(features, logits), head, KEPT, 4)
    new = case.images[:images].flatten(1)
    frozen = case.frozen[:images]
    case.loss = Loss(
        term(new, case.head(torch.cat([frozen.detach(), new], 1)), frozen, case.labels[:images]),
        *case.loss[1:],
    )
    return case, head, term


def test_distilled_features_are_near_the_old_ones_on_old_images() -> None:
    case, _, _ = distilled(0.7, 0.0)
    case.loss.total.backward()  # type: ignore[no-untyped-call]
    expected, gradient = 0.0, np.zeros((6, 4))
    for image, (new, old) in enumerate(zip(wide(case.images).reshape(6, 4), wide(case.frozen), strict=True)):
        if case.labels[image] < 3:
            for kept, own in zip(KEPT, (old[:4], old[4:]), strict=True):
                expected += 0.7 * np.mean((new[kept] - own) ** 2) / 6
                gradient[image, kept] += 0.7 * 2 * (new[kept] - own) / len(kept) / 6
    assert case.loss.total.item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(wide(case.images.grad).reshape(6, 4), gradient, rtol=1e-4, atol=1e-6)
    assert case.head.weight.grad is None


def test_distilled_logits_are_near_the_previous_ones_for_old_classes() -> None:
    case, head, _ = distilled(0.0, 0.3)
    case.loss.total.backward()  # type: ignore[no-untyped-call]
    u = np.concatenate([wide(case.frozen), wide(case.images).reshape(6, 4)], axis=1)
    old = softmax((wide(case.frozen) @ wide(head.weight).T + wide(head.bias)) / 2)
    new = softmax((u @ wide(case.head.weight).T + wide(case.head.bias))[:, :3] / 2)
    divergence = (old * np.log(old / new)).sum(1).mean()
    assert case.loss.total.item() == pytest.approx(0.3 * 2**2 * divergence, rel=1e-5)
    by_logits = 0.3 * 2 * (new - old) / 6
    weight = wide(case.head.weight)
    np.testing.assert_allclose(wide(case.head.weight.grad)[:3], by_logits.T @ u, rtol=1e-4, atol=1e-6)
    assert not wide(case.head.weight.grad)[3:].any()  # of new classes
    by_pixels = (by_logits @ weight[:3])[:, 5:]
    np.testing.assert_allclose(wide(case.images.grad).reshape(6, 4), by_pixels, rtol=1e-4, atol=1e-6)
    assert head.weight.grad is None and head.bias.grad is None


def test_distillation_without_images_is_0_and_adds_nothing_to_the_state() -> None:
    case, _, term = distilled(0.7, 0.3, images=0)
    assert case.loss.total.item() == 0
    assert not term.state_dict() and not [*term.parameters()]


def test_bfloat16_is_for_the_extractor_alone() -> None:
    network = builders.random_network([3, 2])
    objective = builders.build_objective(network, old_classes=3).eval()
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frozen = torch.randn(6, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 4, 4])
    loss = objective(images.bfloat16(), frozen, labels, torch.tensor(0.0))
    assert loss.total.dtype == torch.float32
    features = objective.extractor(images.bfloat16())
    assert not torch.equal(features, objective.extractor(images))
    u = np.concatenate([wide(frozen), wide(features)], axis=1)
    main, _ = cross_entropy(u @ wide(network.head.weight).T + wide(network.head.bias), labels.numpy())
    logits = wide(features) @ wide(objective.auxiliary.weight).T + wide(objective.auxiliary.bias)
    auxiliary, _ = cross_entropy(logits, np.array([0, 0, 0, 1, 2, 2]))
    assert loss.total.item() == pytest.approx(main + auxiliary, rel=1e-5)


BACKBONES = [builders.NETWORK, builders.RESNET18]


def masked(settings: NetworkSettings = builders.NETWORK, **changes: Any) -> tuple[ResNet, ChannelMasks]:
    extractor = builders.random_extractor(1, settings=settings)
    return extractor, ChannelMasks(
        extractor, builders.mask_settings(**changes), torch.Generator().manual_seed(0)
    )


def blocks(extractor: ResNet) -> list[list[BasicBlock]]:
    return [[one for one in stage.children() if isinstance(one, BasicBlock)] for stage in extractor.stages]


@pytest.mark.parametrize(
    ("batches", "table"),
    [(1, [1 / 400]), (2, [1 / 400, 400.0]), (5, [0.0025, 100.001875, 200.00125, 300.000625, 400.0])],
)
def test_the_annealing_table(batches: int, table: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    # s of batch b of B, seen in a mask whose e is so small that sigmoid(s e) = 1/2 + s e / 4.
    network = builders.random_network([2])
    masks = ChannelMasks(network.extractors[0], builders.mask_settings(), torch.Generator().manual_seed(0))
    objective = builders.build_objective(network, 0, masks=masks)
    engine = builders.build_engine(
        objective,
        [],
        builders.training_images(0, [4 * batches] * 2),
        builders.phase_settings(),
        builders.NO_AUGMENTATION,
        masks=masks,
    )
    seen: list[float] = []

    def spy(e: Tensor, sharpness: Tensor, _: Tensor) -> Tensor:
        seen.append(float(sharpness))
        return torch.sigmoid(sharpness * e)

    monkeypatch.setattr(Compensated, "apply", spy)
    for _ in range(2):  # anew in each epoch
        engine.run_epoch(builders.draws_of(8 * batches, builders.NO_AUGMENTATION), 1e-30, lambda _: None)
    assert seen == pytest.approx(2 * table, rel=1e-5)


@pytest.mark.parametrize("sharpness", [0.01, 1.0, 5.0, 20.0])
def test_compensation_is_that_of_section_5(sharpness: float) -> None:
    generator = torch.Generator().manual_seed(0)
    e = torch.empty(50, dtype=torch.float64).uniform_(-1, 1, generator=generator).requires_grad_()
    by_gate = torch.randn(50, dtype=torch.float64, generator=generator)
    s = torch.tensor(sharpness, dtype=torch.float64)
    torch.sigmoid(s * e).backward(by_gate)
    assert e.grad is not None
    soft, sharp = torch.sigmoid(e), torch.sigmoid(s * e)
    expected = soft * (1 - soft) / (s * sharp * (1 - sharp)) * e.grad
    plain, e.grad = e.grad.clone(), None
    gates = Compensated.apply(e, s, torch.ones_like(e))
    torch.testing.assert_close(gates, sharp, rtol=0, atol=0)
    gates.backward(by_gate)
    torch.testing.assert_close(e.grad, expected.detach(), rtol=1e-7, atol=0)
    assert (sharpness == 1) == torch.allclose(e.grad, plain)


@pytest.mark.parametrize("settings", BACKBONES, ids=["cifar_resnet", "resnet"])
@pytest.mark.parametrize("start", [-0.4, 0.7])
def test_sparsity_is_the_share_of_convolution_weights(settings: NetworkSettings, start: float) -> None:
    def count(extractor: nn.Module) -> int:
        return sum(one.weight.numel() for one in extractor.modules() if isinstance(one, nn.Conv2d))

    extractor, masks = masked(settings, start_mean=start)
    assert masks.sparsity(torch.ones(sum(masks.sizes))).item() == 1
    pruned = build_extractor(settings, builders.CHANNELS, masks.shape())
    hard = (masks.e > 0).float()
    assert masks.sparsity(hard).item() == pytest.approx(count(pruned) / count(extractor), rel=1e-6)
    assert 0.001 < count(pruned) / count(extractor) < 0.9


@pytest.mark.parametrize("settings", BACKBONES, ids=["cifar_resnet", "resnet"])
def test_a_channel_turned_off_is_zero_all_along_its_stream(settings: NetworkSettings) -> None:
    extractor, masks = masked(settings)
    masks.harden()
    shape = masks.shape()
    outputs: list[Tensor] = []
    for module in [extractor.stem, *itertools.chain(*blocks(extractor))]:
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    extractor(torch.randn(4, builders.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0)))
    streams = [0, *(index for index, stage in enumerate(blocks(extractor)) for _ in stage)]
    assert len(outputs) == len(streams)
    for output, index in zip(outputs, streams, strict=True):
        on = torch.zeros(output.shape[1], dtype=torch.bool)
        on[shape.streams[index]] = True
        assert 0 < on.sum() < len(on)
        assert output[:, ~on].eq(0).all()
        assert output[:, on].ne(0).any()


@pytest.mark.parametrize("clamped", [False, True])
def test_a_group_keeps_its_largest_at_least(clamped: bool) -> None:
    extractor, masks = masked()
    with torch.no_grad():
        masks.e.sub_(masks.e.max() + (100 if clamped else 1))
    if clamped:
        masks.clamp()  # which makes all of them equal
    masks.harden()
    shape = masks.shape()
    assert {len(stream) for stream in shape.streams} == {1}
    assert {len(inner) for stage in shape.inner for inner in stage} == {1}
    low, high = masks.bounds[masks.stream_groups[-1]]
    assert shape.streams[-1] == [int(masks.e[low:high].argmax())]
    gate = blocks(extractor)[-1][-1].second.gate
    assert gate is not None and gate.nonzero().flatten().tolist() == shape.streams[-1]


def test_released_layers_have_no_gate_and_answer_as_before() -> None:
    extractor, masks = masked()
    images = torch.randn(4, builders.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    before, values = extractor(images), builders.weights(extractor)
    masks.sharpen(torch.tensor(0.1))
    assert not torch.equal(extractor(images), before)
    masks.release()
    assert torch.equal(extractor(images), before)
    assert all(getattr(module, "gate", None) is None for module in extractor.modules())
    assert builders.same_bits(builders.weights(extractor), values)


@pytest.mark.parametrize("settings", BACKBONES, ids=["cifar_resnet", "resnet"])
def test_a_shared_mask_learns_from_the_mean_of_its_layers(settings: NetworkSettings) -> None:
    extractor, masks = masked(settings)
    masks.sharpen(torch.tensor(0.5))
    gates = [layer.gate for layer in extractor.modules() if getattr(layer, "gate", None) is not None]
    torch.stack([gate.sum() for gate in gates]).sum().backward()  # type: ignore[no-untyped-call]
    soft = torch.sigmoid(masks.e.detach())
    torch.testing.assert_close(masks.e.grad, soft * (1 - soft))  # g_m = 1 in every layer, shared or not
    assert len(gates) > len(masks.sizes)


def trained(rate: float, weight_decay: float = 0.0, **changes: Any) -> tuple[Tensor, Tensor, Any]:
    """e before and after one batch, and the gradient it stepped by."""
    network = builders.random_network([2])
    masks = ChannelMasks(
        network.extractors[0], builders.mask_settings(**changes), torch.Generator().manual_seed(0)
    )
    before = masks.e.detach().clone()
    phase = builders.phase_settings(weight_decay=weight_decay)
    objective = builders.build_objective(network, 0, masks=masks)
    engine = builders.build_engine(
        objective, [], builders.training_images(0, [4, 4]), phase, builders.NO_AUGMENTATION, masks=masks
    )
    engine.run_epoch(builders.draws_of(8, builders.NO_AUGMENTATION), rate, lambda _: None)
    return before, masks.e.detach(), masks.e.grad


def test_e_has_its_own_rate_and_no_weight_decay() -> None:
    before, after, gradient = trained(0.01, weight_decay=0.5, rate_factor=3.0)
    torch.testing.assert_close(after, before - 0.03 * gradient, rtol=1e-5, atol=1e-7)
    assert gradient.abs().max() > 1e-4
