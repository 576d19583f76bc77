"""Contenders take turns at the same epochs, so that a slow moment of the machine meets them all."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from bench.arithmetic import epoch_operations, measure_operations, measure_peak
from bench.cases import Case, prepare
from bench.contender import PLAIN, Contender, list_contenders, width_of
from bench.engine_predicting import write_pictures
from bench.traffic import epoch_bytes, measure_bandwidth, measure_volume, predict_bytes
from der.model.network import count_parameters


class Measured(NamedTuple):
    """One contender at one step of the protocol."""

    case: str
    step: int  # counted from 1; step - 1 extractors are frozen
    contender: str
    batch_size: int  # images
    images: int  # of an epoch
    epochs: int  # measured
    seconds_per_epoch: float  # median
    images_per_second: float  # median
    times_plain: float  # median, over the turns, of the plain loop's seconds over these
    peak_memory_mb: float
    step_ms: float | None  # of a full batch's train step, replayed as a CUDA graph
    bandwidth_share: float  # time that the least bytes take at the bandwidth, over the time measured
    arithmetic_share: float | None = (
        None  # time that the convolutions take at the speed of a large matrix product
    )


class Speeds(NamedTuple):
    """Of the machine."""

    bandwidth: float  # bytes per second
    peaks: dict[int, float]  # operations per second, by the bytes of a value


def measure_speeds(device: torch.device) -> Speeds:
    """Copying a large tensor, and multiplying large matrices in float32 and bfloat16."""
    kinds = {4: torch.float32, 2: torch.bfloat16}
    return Speeds(
        measure_bandwidth(device), {width: measure_peak(device, kind) for width, kind in kinds.items()}
    )


def measure_all(
    cases: list[Case], device: torch.device, tell: Callable[[str], None]
) -> tuple[list[Measured], float]:
    """Measure every case; returns also the bandwidth in bytes per second. ``tell`` hears of every step."""
    speeds = measure_speeds(device)
    rows: list[Measured] = []
    for case in cases:
        with ExitStack() as stack:
            steps = len(case.new_classes)
            if case.task == "predict":
                case = replace(case, directory=Path(stack.enter_context(TemporaryDirectory())))
                write_pictures(prepare(case, steps - 1).images, case.directory)
            names = list_contenders(case, device)
            contenders = [stack.enter_context(Contender(name, case, device)) for name in names]
            for frozen in case.measured:
                tell(f"{case.name}: step {frozen + 1} of {steps}")
                rows += measure_step(case, frozen, contenders, speeds)
    return rows, speeds.bandwidth


def measure_step(
    case: Case, frozen: int, contenders: Sequence[Contender], speeds: Speeds
) -> Iterator[Measured]:
    """The step with ``frozen`` frozen extractors, one row per contender; PLAIN must be among them."""
    for contender in contenders:
        contender.warm_up(frozen)
    turns = [
        {contender.name: contender.time_epoch() for contender in contenders} for _ in range(case.repetitions)
    ]
    start = prepare(case, frozen)
    newest = start.network.extractors[-1]
    side, channels = start.images.side, start.images.channels
    volume = measure_volume(newest, channels, side)
    operations = measure_operations(newest, channels, side)
    parameters = count_parameters(newest, start.network.head, start.auxiliary)
    images = len(start.images.labels)
    for contender in contenders:
        seconds = statistics.median(turn[contender.name] for turn in turns)
        width = width_of(contender.name)
        if case.task == "train":
            least = epoch_bytes(volume, parameters, frozen, images, case.batch_size, width)
            arithmetic = epoch_operations(operations, frozen, images)
        else:
            least = predict_bytes(volume, frozen + 1, images, width)
            arithmetic = images * (frozen + 1) * operations[0]
        footprint = contender.measure()
        yield Measured(
            case=case.name,
            step=start.step,
            contender=contender.name,
            batch_size=case.batch_size,
            images=images,
            epochs=case.repetitions,
            seconds_per_epoch=seconds,
            images_per_second=images / seconds,
            times_plain=statistics.median(turn[PLAIN] / turn[contender.name] for turn in turns),
            peak_memory_mb=footprint.peak_bytes / 1e6,
            step_ms=footprint.step_ms,
            bandwidth_share=least / speeds.bandwidth / seconds,
            arithmetic_share=arithmetic / speeds.peaks[width] / seconds,
        )
