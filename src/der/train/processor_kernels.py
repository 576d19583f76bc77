"""Whether a step is trained by kernels compiled for the processor, or by torch's own operations.

Parameters and the machine decide, never a time measured: a run that is repeated must compute as before.
"""

from collections.abc import Callable

import torch

from der.core.precision_names import Precision
from der.model.kernels.layers import ConvNorm
from der.model.kernels.processor import Kernels, Unavailable, compiled_kernels
from der.model.network import build_extractor
from der.settings.network import NetworkSettings
from der.settings.training import ScheduleSettings
from der.train.training_images import TrainingImages

BATCH_PIXELS = 2**16  # with fewer, calls may take longer than what they save
LARGEST_SIDE = 64  # pixels, in bfloat16: at 224 torch's own operations were faster (docs/speed.md)
TRAINING_PIXELS = 2**25  # which take about a minute; compiling takes a second or two


def worth_compiling(schedule: ScheduleSettings, images: int, side: int, precision: Precision) -> bool:
    """Whether training on so many images of ``side`` pixels a side is long enough, and its batches large."""
    pixels = side**2
    return (
        (precision != "bfloat16" or side <= LARGEST_SIDE)
        and schedule.batch_size * pixels >= BATCH_PIXELS
        and schedule.epochs * images * pixels >= TRAINING_PIXELS
    )


def has_layers_for_them(network: NetworkSettings, channels: int) -> bool:
    """Whether extractors for images of so many channels have layers that kernels train."""
    return any(isinstance(module, ConvNorm) for module in build_extractor(network, channels).modules())


def choose_kernels(
    network: NetworkSettings,
    schedule: ScheduleSettings,
    images: TrainingImages,
    precision: Precision,
    device: torch.device,
    warn: Callable[[str], None],
) -> Kernels | None:
    """The kernels to train ``network`` with on ``device``; None: torch's own operations.

    ``warn`` hears a sentence if they are worth it, but this machine has no compiler for them.
    """
    if device.type != "cpu" or not worth_compiling(schedule, len(images.labels), images.side, precision):
        return None
    if not has_layers_for_them(network, images.channels):
        return None
    try:
        return compiled_kernels()
    except Unavailable as error:
        warn(f"{error}; training goes on without, and takes up to 1.5 times as long: install g++")
        return None
