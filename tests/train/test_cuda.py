"""The engine on a GPU: the same training as on the CPU up to rounding, in captured graphs, without waiting.

In float32 the library's convolutions and our batch normalisation run; in bfloat16 our convolutions as well.
"""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from torch import Tensor

from der.core.device import make_deterministic
from der.model.checkpoint import Checkpoint
from der.model.kernels import triton
from der.settings import sections
from der.train.engine import CapturedStep, Engine
from der.train.policies import LEVELS, Operations
from der.train.step import StepInputs, train_step
from tests import builders
from tests.train import dropping

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.filterwarnings("default::UserWarning"),  # torch's, of what is not final in it
]

CUDA = torch.device("cuda")
PER_CLASS = [4, 3, 7, 7]  # images; two batches of 8, and one of 5
RATE = 0.05


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> Iterator[None]:
    """As the stages run; put back for the other tests of this process."""
    make_deterministic()
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.set_flush_denormal(False)


PLAIN = builders.augmentation_settings()
MIXED = builders.augmentation_settings(policy="trivial", cutout=3, cutmix=1.0)
AUGMENTED = pytest.mark.parametrize("augmentation", [PLAIN, MIXED], ids=["plain", "mixed"])


def make_engine(
    device: torch.device = CUDA,
    precision: str = "float32",
    *,
    captured: bool = True,
    augmentation: sections.AugmentationSettings = PLAIN,
) -> Engine:
    """One that trains an extractor beside a frozen one, both the same for every call."""
    network = builders.random_network([2, 2])
    engine = builders.build_engine(
        builders.build_objective(network, old_classes=2),
        network.extractors[:1],
        builders.training_images(0, PER_CLASS),
        builders.phase_settings(learning_rate=RATE),
        augmentation,
        precision,
        device=device,
    )
    if not captured:
        engine.step = engine._train_batch
    return engine


def train(engine: Engine, epochs: range) -> list[float]:
    """The loss of each epoch."""
    losses = []
    for epoch in epochs:
        draws = builders.draws_of(sum(PER_CLASS), engine.feed.augmentation, epoch=epoch)
        losses.append(engine.run_epoch(draws, RATE, lambda _: None).loss)
    return losses


def difference(left: Tensor, right: Tensor) -> float:
    """Relative, in the norm over all values."""
    left, right = left.double().cpu(), right.double().cpu()
    assert left.shape == right.shape
    return float((left - right).norm() / right.norm())


@AUGMENTED
def test_graphs_train_as_eager_steps(augmentation: sections.AugmentationSettings) -> None:
    graphs, eager = (make_engine(captured=one, augmentation=augmentation) for one in (True, False))
    assert isinstance(graphs.step, CapturedStep)
    start = eager.pack()
    assert torch.equal(graphs.pack(), start)
    losses = train(graphs, range(2)), train(eager, range(2))
    assert sorted(graphs.step.graphs) == [5, 8]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert difference(graphs.pack(), eager.pack()) < 1e-3
    assert difference(eager.pack(), start) > 1e-2


@AUGMENTED
def test_nothing_waits_for_the_gpu_inside_an_epoch(augmentation: sections.AugmentationSettings) -> None:
    engine = make_engine(augmentation=augmentation)
    train(engine, range(1))  # captures
    draws = builders.draws_of(sum(PER_CLASS), augmentation, epoch=1)
    position = torch.ones((), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in engine.feed.batches(draws, 8):
            engine.step(batch, position)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_resumed_run_gives_the_same_bits_where_layers_draw() -> None:
    def teach(keeper: builders.MemoryKeeper, listener: builders.Recorder) -> Checkpoint:
        images = builders.training_images(0, [7, 7])
        settings = builders.train_settings(base=builders.phase_settings(epochs=3))
        names, network = [["a", "b"]], dropping.SETTINGS
        inputs = StepInputs(None, names, images, network, settings, CUDA)
        return train_step(inputs, listener, keeper).checkpoint

    keeper = builders.MemoryKeeper()
    with pytest.raises(builders.Killed):
        teach(keeper, builders.Killer(3))
    torch.rand(3, device=CUDA)
    before = torch.cuda.get_rng_state()
    resumed, whole = teach(keeper, builders.Recorder()), teach(builders.MemoryKeeper(), builders.Recorder())
    assert builders.same_bits(builders.weights(resumed.network), builders.weights(whole.network))
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_streamed_images_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = make_engine()
    monkeypatch.setattr("der.train.batches.fits", lambda images, device: False)
    streamed = make_engine()
    assert resident.feed.resident is not None
    assert streamed.feed.resident is None
    assert train(resident, range(2)) == train(streamed, range(2))
    assert torch.equal(resident.pack(), streamed.pack())


@pytest.mark.parametrize("policy", ["autoaugment", "trivial"])
def test_a_policy_gives_the_pixels_of_the_processor(policy: sections.Policy) -> None:
    numbers = torch.randperm(15 * 2 * LEVELS[policy], generator=torch.Generator().manual_seed(0))
    images = torch.randint(0, 256, (len(numbers), 3, 32, 32)).to(torch.uint8)
    ours, theirs = (
        Operations(policy, 32, one)(images.to(one), numbers[:, None]).cpu() for one in (CUDA, builders.CPU)
    )
    assert (
        (ours.int() - theirs.int()).abs().amax((1, 2, 3)) <= 1
    ).all()  # a sum may be rounded once or twice


def take_steps(
    device: torch.device, settings: sections.TrainSettings, precision: str = "float32"
) -> Checkpoint:
    """Two whole steps of the protocol, rebalancing included, each from the one before."""
    settings = replace(settings, precision=precision)
    checkpoint: Checkpoint | None = None
    for steps, per_class in (([["a", "b"]], [7, 7]), ([["a", "b"], ["c", "d"]], PER_CLASS)):
        images = builders.training_images(0, per_class)
        inputs = StepInputs(checkpoint, steps, images, builders.NETWORK, settings, device)
        checkpoint = train_step(inputs, builders.Recorder(), builders.MemoryKeeper()).checkpoint
        checkpoint.network.to(builders.CPU)
    assert checkpoint is not None
    return checkpoint


def assert_near(left: Checkpoint, right: Checkpoint) -> None:
    """The same channels, and values up to rounding."""
    assert left.metadata.shapes == right.metadata.shapes
    ours, theirs = left.network.state_dict(), right.network.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert difference(ours[name], theirs[name]) < 1e-2, name


@pytest.mark.parametrize("rebalancing", ["weight_alignment", "classifier_learning", "none"])
@pytest.mark.parametrize("masks", [None, builders.mask_settings()], ids=["full", "masked"])
def test_steps_of_the_protocol_as_on_the_cpu(rebalancing: str, masks: sections.MaskSettings | None) -> None:
    incremental = builders.incremental_settings(rebalancing=rebalancing)
    settings = builders.train_settings(masks=masks, incremental=incremental)
    assert_near(take_steps(CUDA, settings), take_steps(builders.CPU, settings))


@pytest.mark.parametrize("masks", [None, builders.mask_settings()], ids=["full", "masked"])
def test_steps_in_bfloat16_give_the_same_bits_twice(masks: sections.MaskSettings | None) -> None:
    distillation = sections.DistillationSettings(features=0.5, logits=0.5)
    incremental = builders.incremental_settings(rebalancing="classifier_learning", distillation=distillation)
    settings = builders.train_settings(masks=masks, incremental=incremental, averaging=1.0)
    one, two = (take_steps(CUDA, settings, "bfloat16") for _ in range(2))
    assert builders.same_bits(builders.weights(one.network), builders.weights(two.network))


@pytest.mark.parametrize("channels", [(16, 16), (16, 32), (32, 32), (64, 64)])
def test_convolutions_in_bfloat16(channels: tuple[int, int]) -> None:
    channels_in, channels_out = channels
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator).to(CUDA, torch.bfloat16)
        return values.contiguous(memory_format=torch.channels_last)

    x, dy = noise(5, channels_in, 9, 11), noise(5, channels_out, 9, 11)
    weight = noise(channels_out, channels_in, 3, 3)
    exact_x, exact_weight = (value.double().cpu().requires_grad_() for value in (x, weight))
    y = F.conv2d(exact_x, exact_weight, padding=1)
    y.backward(dy.double().cpu())
    assert exact_x.grad is not None and exact_weight.grad is not None
    rounding = 2**-8
    assert difference(triton.convolve(x, weight)[0], y.detach()) < rounding
    assert difference(triton.input_gradient(dy, weight), exact_x.grad) < rounding
    assert difference(triton.weight_gradient(x, dy, weight), exact_weight.grad) < 1e-5
