"""A phase of training: epochs of stochastic gradient descent on an objective, resumable after each.

It also has batch normalisation over several processes, because torch's SyncBatchNorm needs CUDA.

# B batch, C channels, H and W pixels, P frozen features
"""

import gc
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.sgd import sgd
from torch.optim.swa_utils import get_swa_multi_avg_fn
from torch.overrides import TorchFunctionMode

from der.core import distributed
from der.core.device import choose_precision
from der.core.errors import UserError
from der.core.randomness import generator, keeping_own, lending
from der.model import network as networks
from der.model.architecture import Normalization
from der.model.kernels import layers, processor
from der.model.network import Extractor, Network, may_draw
from der.settings.sections import NetworkSettings, PhaseSettings, Precision, ScheduleSettings, TrainSettings
from der.train import log, resume
from der.train.batches import Batch, Draws, Feed, TrainingImages, draw_epoch
from der.train.objective import ChannelMasks, Loss


@dataclass(frozen=True)
class StepRun:
    """The inputs and settings that all phases of one step share."""

    step: int  # counted from 1
    old_classes: int
    normalization: Normalization
    settings: TrainSettings
    device: torch.device
    listener: log.Listener
    keeper: resume.StateKeeper
    kernels: processor.Kernels | None = None  # of a processor; None: torch's own operations

    @property
    def phase(self) -> PhaseSettings:
        return self.settings.incremental if self.old_classes else self.settings.base

    def wire_engine(
        self,
        objective: nn.Module,
        frozen: Sequence[Extractor],
        images: TrainingImages,
        schedule: ScheduleSettings,
        masks: ChannelMasks | None = None,
        averaged: int = 0,
        *,
        trunk: nn.Module | None = None,
        mixed: bool = False,
    ) -> "Engine":
        """Make an engine for ``objective`` and ``images``, with CutMix if it learns from ``mixed`` labels.

        With the network's ``trunk``, if it has one, extractors and objective take its outputs.
        """
        settings, device = self.settings, self.device
        augmentation = settings.augmentation if mixed else replace(settings.augmentation, cutmix=0.0)
        precision = choose_precision(settings.precision, device, "train.precision")
        feed = Feed(images, frozen, self.normalization, augmentation, precision, device, trunk)
        return Engine(objective, feed, schedule, masks, self.kernels, averaged)

    def draws(self, phase: str, images: int, epoch: int) -> Draws:
        return draw_epoch(images, self.settings.augmentation, self.settings.seed, phase, self.step, epoch)

    def lend(self, phase: str, engine: "Engine", epoch: int) -> AbstractContextManager[Any]:
        """Let layers that may draw from torch's own generators draw what is this epoch's alone."""
        if not may_draw(engine.objective, *engine.feed.frozen):
            return nullcontext()  # draws of other threads are left alone
        stream = generator(self.settings.seed, phase, "layers", self.step, epoch, distributed.rank())
        return lending(stream, self.device)


def run_phase(
    run: StepRun,
    name: str,
    engine: "Engine",
    schedule: ScheduleSettings,
    images: int,
    when_warm: Callable[[], None] | None = None,
) -> list[log.EpochRecord]:
    """Train for ``schedule.epochs`` epochs over ``images`` images; skip epochs restored from saved state.

    An epoch is a function of the state before it, its index and the settings, so a resumed phase ends like
    an uninterrupted one. ``when_warm`` is called before the first epoch after warm-up. Raises
    UserError naming step and epoch if the loss is not finite.
    """
    run.listener.on_phase(name, schedule.epochs, images)
    records: list[log.EpochRecord] = []
    saved = run.keeper.load(name)  # rank 0's; the workers keep none
    distributed.barrier()  # reading may take longer than the time limit of a rank
    if (saved := distributed.broadcast(saved)) is not None:
        engine.unpack(saved.state)
        records = list(saved.records)
        run.listener.on_resume(len(records))
    for epoch in range(len(records), schedule.epochs):
        if when_warm is not None and epoch == schedule.warmup_epochs:
            when_warm()
        rate = learning_rate(schedule, epoch)
        try:
            with run.lend(name, engine, epoch):
                means = engine.run_epoch(run.draws(name, images, epoch), rate, run.listener.on_images)
        except UserError as error:
            raise UserError(f"step {run.step}, {name}, epoch {epoch + 1}: {error}") from None
        engine.average(epoch)
        records.append(log.EpochRecord(name, epoch + 1, rate, *means))
        run.keeper.save(name, records, engine.pack, last=epoch == schedule.epochs - 1)
        run.listener.on_epoch(records[-1])
        distributed.barrier()  # rank 0 writes state, which may take longer than the time limit of a rank
    return records


def learning_rate(settings: ScheduleSettings, epoch: int) -> float:
    """Return the rate in ``epoch`` (counted from 0): multiplied by ``decay`` from each milestone on.

    During warm-up it rises linearly to the full rate in the last warm-up epoch. Milestones count from the
    first epoch, warm-up included.
    """
    passed = sum(epoch >= milestone for milestone in settings.milestones)
    warmth = min(1.0, (epoch + 1) / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    return settings.learning_rate * settings.decay**passed * warmth


class EpochMeans(NamedTuple):
    """Means over the images of an epoch."""

    loss: float
    auxiliary_loss: float
    accuracy: float  # percent


# One step of gradient descent on a batch, whose position goes from 0 to 1 over an epoch.
TrainBatch = Callable[[Batch, Tensor], None]


class Engine:
    """Trains ``objective`` on ``feed``, on processors by ``kernels`` if given; call ``release`` when done.

    It keeps the mean of the trained weights at the ends of the ``averaged`` last epochs (stochastic weight
    averaging, Izmailov et al. 2018, section 3.2).
    """

    def __init__(
        self,
        objective: nn.Module,
        feed: Feed,
        schedule: ScheduleSettings,
        masks: ChannelMasks | None = None,
        kernels: processor.Kernels | None = None,
        averaged: int = 0,
    ) -> None:
        self.device = feed.device
        self.objective = objective.to(self.device).to(memory_format=torch.channels_last)  # as images are
        self.feed, self.batch_size, self.masks = feed, schedule.batch_size, masks
        self.trained = [value for value in objective.parameters() if value.requires_grad]
        weights = [value for value in self.trained if masks is None or value is not masks.e]
        self.first_averaged = schedule.epochs - averaged  # epoch, counted from 0
        self.means = [torch.zeros_like(value) for value in self.trained] if averaged else []
        self.rates = [torch.tensor(schedule.learning_rate, device=self.device) for _ in range(2)]
        groups = [Group(weights, self.rates[0], schedule.weight_decay)]
        if masks is not None:
            groups.append(Group([masks.e], self.rates[1], weight_decay=0.0))
        self.optimizer = SGD(groups, schedule.momentum, self.device)
        self.totals = torch.zeros(len(EpochMeans._fields), device=self.device)
        self.layers: layers.FusedLayers | None = None
        self.step: TrainBatch = self._train_batch
        alone = distributed.world_size() == 1  # layers as one operation normalise by their own images
        if self.device.type == "cuda":
            if alone:
                self.layers = layers.FusedLayers(objective, feed.precision)
            self.step = CapturedStep(self._train_batch, lambda: [*self._state(), self.totals])
        elif kernels is not None and alone:
            self.layers = layers.FusedLayers(objective, feed.precision, kernels)

    def run_epoch(self, draws: Draws, rate: float, on_images: Callable[[int], None]) -> EpochMeans:
        """Train on every image once at learning rate ``rate``; raises UserError if the loss is not finite."""
        self.rates[0].fill_(rate)
        if self.masks is not None:
            self.rates[1].fill_(rate * self.masks.settings.rate_factor)
        self.totals.zero_()
        self.objective.train()
        batches = math.ceil(len(draws.order) / self.batch_size)
        positions = torch.linspace(0, 1, batches, device=self.device)
        for position, batch in zip(positions, self.feed.batches(draws, self.batch_size), strict=True):
            self.step(batch, position)
            on_images(batch.whole)
        distributed.all_reduce([self.totals])
        loss, auxiliary, correct = (self.totals / len(draws.order)).tolist()  # the epoch's one sync
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss}; lower the learning rate or check the images")
        return EpochMeans(loss, auxiliary, 100 * correct)

    def _train_batch(self, batch: Batch, position: Tensor) -> None:
        images_BCHW, frozen_BP, labels_B, weight, _ = batch
        if self.layers is not None:
            self.layers.cast_weights()
        self.optimizer.zero_grad()
        with synced_statistics():
            loss: Loss = self.objective(images_BCHW, frozen_BP, labels_B, position)
        (loss.total * weight).backward()  # type: ignore[no-untyped-call]
        if self.masks is not None:
            self.masks.release()  # gates would keep this batch's graph, and a capture the stream before it
        if self.layers is not None:
            self.layers.join()
        distributed.all_reduce(self.optimizer.gradients())
        self.optimizer.step()
        if self.masks is not None:
            self.masks.clamp()
        self.totals += torch.stack([part.detach() for part in loss]) * len(labels_B)

    def average(self, epoch: int) -> None:
        """After an epoch, counted from 0: take the weights into their mean, if it is one of the last."""
        if self.means and epoch >= self.first_averaged:
            get_swa_multi_avg_fn()([*self.means], [*self.trained], epoch - self.first_averaged)

    @torch.no_grad()
    def place_means(self) -> None:
        """Replace the weights by their means; batch normalisation's statistics are then to be estimated."""
        for value, mean in zip(self.trained, self.means, strict=True):
            value.copy_(mean)

    @torch.no_grad()
    def estimate_statistics(self, extractor: nn.Module, draws: Draws) -> None:
        """Replace batch normalisation's statistics by their means over an epoch, weighted by images."""
        norms = [module for module in extractor.modules() if isinstance(module, _BatchNorm)]
        usual = [norm.momentum for norm in norms]
        extractor.train()
        if self.layers is not None:
            self.layers.cast_weights()
        seen = 0
        for images_BCHW, whole in self.feed.inputs(draws, self.batch_size):
            seen += whole
            for norm in norms:
                norm.momentum = whole / seen
            with synced_statistics():
                extractor(images_BCHW)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum

    def pack(self) -> Tensor:
        """Copy everything that training changes into one flat tensor on the CPU, for ``unpack``."""
        return torch.cat([value.detach().reshape(-1) for value in self._state()]).cpu()

    @torch.no_grad()
    def unpack(self, state: Tensor) -> None:
        values = self._state()
        parts = state.to(self.device).split([value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view(value.shape))

    def _state(self) -> list[Tensor]:
        """List every tensor that training changes; all are float32, except counters of batches."""
        return [*self.objective.state_dict().values(), *self.optimizer.momenta.values(), *self.means]

    def release(self) -> None:
        """Restore the objective's modules except their values; the engine can train no more."""
        if self.layers is not None:
            self.layers.release()
        if isinstance(self.step, CapturedStep):
            self.step.graphs.clear()  # and their memory
        del self.step  # holds this engine, which would live on with its images until a collection


class Group(NamedTuple):
    """Parameters that share a learning rate and a weight decay."""

    parameters: list[nn.Parameter]
    rate: Tensor  # a scalar, so that a captured step sees it change
    weight_decay: float


class SGD:
    """Stochastic gradient descent with momentum: updates parameters as torch.optim.SGD does, bit for bit.

    torch.optim.SGD imports torch's compiler when it is made, which adds half of torch's import time.
    """

    def __init__(self, groups: Sequence[Group], momentum: float, device: torch.device) -> None:
        self.groups, self.momentum = groups, momentum
        self.fused = device.type in ("cuda", "cpu")
        # Zeros are what torch's first step assumes; made now, so that a captured step is like all others.
        self.momenta = {value: torch.zeros_like(value) for group in groups for value in group.parameters}

    def zero_grad(self) -> None:
        for value in self.momenta:
            value.grad = None

    def gradients(self) -> list[Tensor]:
        return [value.grad for value in self.momenta if value.grad is not None]

    @torch.no_grad()
    def step(self) -> None:
        for group in self.groups:
            moved = [value for value in group.parameters if value.grad is not None]
            gradients = [value.grad for value in moved if value.grad is not None]
            momenta: list[Tensor | None] = [self.momenta[one] for one in moved] if self.momentum else []
            own: dict[str, Any] = {"lr": group.rate, "weight_decay": group.weight_decay}
            own |= {"momentum": self.momentum, "fused": self.fused}
            sgd([*moved], gradients, momenta, **own, dampening=0, nesterov=False, maximize=False)


Captured = tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...]]  # and the tensors that it reads


class CapturedStep:
    """Replays ``train_batch`` as a CUDA graph, without Python, with one graph per size of a whole batch.

    The last partial batch has its own graph, because padding would corrupt the batch statistics. All ranks
    capture it, also a rank whose shard is as large as before, because a capture makes more reductions than a
    replay.
    ``state`` lists every tensor that a step changes. Clear ``graphs`` when done, before others capture.
    """

    def __init__(self, train_batch: TrainBatch, state: Callable[[], Iterable[Tensor]]) -> None:
        self.train_batch, self.state = train_batch, state
        self.graphs: dict[int, Captured] = {}
        # One for warm-up and capture: autograd's nodes and cuBLAS's workspaces belong to a stream, and a
        # graph that is freed takes the workspaces of its stream along.
        self.stream = torch.cuda.Stream()

    def __call__(self, batch: Batch, position: Tensor) -> None:
        if batch.whole not in self.graphs:
            self.graphs[batch.whole] = self._capture(batch, position)
        graph, inputs = self.graphs[batch.whole]
        for place, tensor in zip(inputs, (*batch[:-1], position), strict=True):
            place.copy_(tensor)
        graph.replay()

    def _capture(self, batch: Batch, position: Tensor) -> Captured:
        given = (*batch[:-1], position)
        inputs = tuple(tensor.clone(memory_format=torch.preserve_format) for tensor in given)
        images, frozen, labels, weight, place = inputs
        own = Batch(images, frozen, labels, weight, batch.whole)
        state = list(self.state())
        before = [tensor.detach().clone() for tensor in state]
        with keeping_own(torch.device("cuda")):  # a resumed epoch captures again, and makes the same draws
            # This compiles kernels and makes handles, which captures must not do. It trains, so it is undone.
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                for _ in range(2):
                    self.train_batch(own, place)
            torch.cuda.current_stream().wait_stream(self.stream)
        with torch.no_grad():
            for tensor, old in zip(state, before, strict=True):
                tensor.copy_(old)
        graph = torch.cuda.CUDAGraph()
        gc.collect()
        gc.disable()  # the collector could free another graph, which would end this one's capture
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.train_batch(own, place)
        finally:
            gc.enable()
        return graph, inputs


def synced_statistics() -> AbstractContextManager[Any]:
    """Make every batch normalisation in the block use the statistics of all ranks' batches together."""
    return _Synced() if distributed.world_size() > 1 else nullcontext()


class _Synced(TorchFunctionMode):
    """Replaces torch's function, which every normalising layer calls, by ``batch_norm`` below."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        called = batch_norm if function is F.batch_norm else function
        return called(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise (N, C, ...) like torch.nn.functional.batch_norm, with N over the images of all ranks."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    statistics = pooled_statistics(input.detach())
    values, mean, variance = statistics
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (values / (values - 1)), momentum)
    scale = torch.ones_like(mean) if weight is None else weight
    shift = torch.zeros_like(mean) if bias is None else bias
    return SyncedNorm.apply(input, scale, shift, statistics, eps)  # type: ignore[no-any-return]


Statistics = tuple[Tensor, Tensor, Tensor]  # number of values per channel, mean (C,), biased variance (C,)


def pooled_statistics(input: Tensor) -> Statistics:
    """Combine the ranks' sums of squares into statistics, float32 (Chan, Golub, LeVeque 1979)."""
    channels = input.shape[1]
    rows = input.transpose(0, 1).reshape(channels, -1).float()
    own = torch.full((1,), float(rows.shape[1]), device=input.device)
    mean = rows.sum(1) / own.clamp(min=1)
    squares = (rows - mean[:, None]).square().sum(1)
    all_ranks = distributed.all_gather(torch.cat([own, mean, squares]))
    counts, means, sums = all_ranks[:, :1], all_ranks[:, 1 : 1 + channels], all_ranks[:, 1 + channels :]
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    squares = (sums + counts * (means - mean).square()).sum(0)
    return total, mean, squares / total


class SyncedNorm(torch.autograd.Function):
    """Computes (x - mean) / sqrt(variance + eps) * scale + shift; the statistics depend on all ranks' x.

    dx = scale / sigma * (dy - mean(dy) - xhat * mean(dy xhat)), the means over all ranks; the gradients of
    scale and shift are this rank's share.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, statistics: Statistics, eps: float
    ) -> Tensor:
        _, mean, variance = statistics
        ctx.save_for_backward(x, scale, *statistics)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, scale, values, mean, variance = ctx.saved_tensors
        over = [axis for axis in range(x.dim()) if axis != 1]
        form = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        deviation = torch.rsqrt(variance + ctx.eps)
        hat = (x.float() - mean.view(form)) * deviation.view(form)
        dy = dy.float()
        dshift, dscale = dy.sum(over), (dy * hat).sum(over)
        means = torch.stack([dshift, dscale])
        distributed.all_reduce([means])
        means = means / values
        dx = (dy - means[0].view(form) - hat * means[1].view(form)) * (scale * deviation).view(form)
        return dx.to(x.dtype), dscale, dshift, None, None


CHECKED = 64  # images that a trained network is tried on
# When kernels compiled for the processor are worth it. Only parameters and the machine decide, no measured
# time: a repeated run must compute the same.
BATCH_PIXELS = 2**16  # with fewer, calls may take longer than what they save
LARGEST_SIDE = 64  # pixels, in bfloat16: at 224 torch's own operations were faster (docs/speed.md)
TRAINING_PIXELS = 2**25  # which take about a minute; compiling takes a second or two


def choose_kernels(
    network: NetworkSettings,
    schedule: ScheduleSettings,
    images: TrainingImages,
    precision: Precision,
    device: torch.device,
    warn: Callable[[str], None],
) -> processor.Kernels | None:
    """Return kernels for a processor, or None if not worth it; ``warn`` tells of a missing compiler."""
    if device.type != "cpu" or not worth_compiling(schedule, len(images.labels), images.side, precision):
        return None
    modules = networks.build_extractor(network, images.channels).modules()
    if not any(isinstance(module, layers.ConvNorm) for module in modules):
        return None  # no layer that kernels train
    try:
        return processor.compiled_kernels()
    except processor.Unavailable as error:
        warn(f"{error}; training goes on without, and takes up to 1.5 times as long: install g++")
        return None


def worth_compiling(schedule: ScheduleSettings, images: int, side: int, precision: Precision) -> bool:
    """Tell whether training on so many images of ``side`` pixels is long enough, and its batches large."""
    pixels = side**2
    return (
        (precision != "bfloat16" or side <= LARGEST_SIDE)
        and schedule.batch_size * pixels >= BATCH_PIXELS
        and schedule.epochs * images * pixels >= TRAINING_PIXELS
    )


def check_scores(
    network: Network, normalization: Normalization, images: TrainingImages, device: torch.device, step: int
) -> None:
    """Raise UserError if the network's scores are not finite: the very last update may have diverged."""
    sample = images.pixels.read(np.arange(min(CHECKED, len(images.labels))))
    if not np.isfinite(networks.run_network(network.to(device), normalization, sample, device).logits).all():
        fault = "the trained network's scores are not finite"
        raise UserError(f"step {step}: {fault}; lower the learning rate or check the images")
