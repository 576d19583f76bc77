"""Normalisation, addition and ReLU in one, forward and backward, by kernels compiled for this processor.

# C channels; all tensors (B, C, H, W) are channels last, of one dtype; all of length C are float32
"""

import ctypes
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from der.model.kernels.compiler import Compiled, compile_source
from der.model.kernels.processor_source import CHUNKS, CONSTANTS, LANES, SOURCE

DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
ADDRESS, LONG, FLOAT, INT = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_int
ARGUMENTS = {
    "normalize": [*[ADDRESS] * 10, LONG, LONG, FLOAT, FLOAT, INT, INT],
    "differentiate": [*[ADDRESS] * 13, LONG, LONG, INT, INT],
}


class Normalized(NamedTuple):
    """A normalised batch, and the statistics that its gradients need."""

    y: Tensor
    mean_C: Tensor
    rstd_C: Tensor


class Gradients(NamedTuple):
    """Of what ``Kernels.normalize`` took."""

    dz: Tensor
    dscale_C: Tensor
    dshift_C: Tensor
    dresidual: Tensor | None


@dataclass(frozen=True)
class Kernels:
    """The kernels of der.model.kernels.processor_source, compiled. Sums have the same bits at every call."""

    compiled: Compiled

    def __post_init__(self) -> None:
        for (kernel, arguments), dtype in product(ARGUMENTS.items(), DTYPES.values()):
            function = getattr(self.compiled.library, f"{kernel}_{dtype}")
            function.argtypes, function.restype = arguments, None

    @property
    def name(self) -> str:
        """What tells their arithmetic from others'."""
        return self.compiled.digest

    def serve(self, x: Tensor, channels: int) -> bool:
        """Whether they can take what a layer makes of ``x``."""
        return x.device.type == "cpu" and x.dtype in DTYPES and channels % LANES == 0

    def normalize(
        self,
        z: Tensor,
        norm: nn.BatchNorm2d,
        scale_C: Tensor,
        shift_C: Tensor,
        residual: Tensor | None,
        relu: bool,
    ) -> Normalized:
        """relu(batch_norm(z) + residual) in training mode, the last two optional.

        ``scale_C`` and ``shift_C`` stand in for those of ``norm``, whose running statistics move. z has two
        pixels or more.
        """
        channels = z.shape[1]
        assert z.numel() > channels and norm.momentum is not None and norm.running_mean is not None
        mean_C, rstd_C = torch.empty(channels), torch.empty(channels)
        y = torch.empty_like(z)
        self._call(
            "normalize", z, residual, y, scale_C, shift_C, norm.running_mean, norm.running_var, mean_C,
            rstd_C, _scratch(channels), z.numel() // channels, channels, norm.eps, norm.momentum, relu,
        )  # fmt: skip
        return Normalized(y, mean_C, rstd_C)

    def differentiate(
        self,
        dy: Tensor,
        beside: Tensor | None,
        z: Tensor,
        normalized: Normalized,
        scale_C: Tensor,
        shift_C: Tensor,
        residual: bool,
        relu: bool,
    ) -> Gradients:
        """Backward pass of ``normalize``, from its input z and what it returned.

        The gradient of its output is ``dy``, or ``dy + beside``.
        """
        channels = z.shape[1]
        y, mean_C, rstd_C = normalized
        dscale_C, dshift_C = torch.empty(channels), torch.empty(channels)
        dz = torch.empty_like(z)
        dresidual = torch.empty_like(z) if residual else None
        self._call(
            "differentiate", dy, beside, y, z, dz, dresidual, scale_C, shift_C, mean_C, rstd_C, dscale_C,
            dshift_C, _scratch(channels), z.numel() // channels, channels, relu,
        )  # fmt: skip
        return Gradients(dz, dscale_C, dshift_C, dresidual)

    def _call(self, kernel: str, first: Tensor, *rest: Tensor | float | None) -> None:
        function = getattr(self.compiled.library, f"{kernel}_{DTYPES[first.dtype]}")
        values = [one.data_ptr() if isinstance(one, Tensor) else one for one in (first, *rest)]
        function(*values, torch.get_num_threads())


def _scratch(channels: int) -> Tensor:
    return torch.empty((2 * CHUNKS + CONSTANTS) * channels)


def compiled_kernels() -> Kernels:
    """The kernels, compiled at the first call; raises der.model.kernels.compiler.Unavailable."""
    return Kernels(compile_source(SOURCE))
