"""Kernels for processors: compiled ones for layers in training, and oneDNN's for frozen layers.

kernels/layers.py has the formulas, processor.cpp the kernels. The machine's compiler compiles them for its
processor.

# C channels; all tensors (B, C, H, W) are channels last, of one dtype; all of length C are float32
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor, nn

SOURCE = Path(__file__).with_suffix(".cpp").read_text(encoding="utf-8")  # now, before it is edited
LANES = 16  # channels handled at once
CHUNKS = 128  # of rows, at most, whose sums are kept
SCRATCH = 2 * CHUNKS + 4  # rows of C float32: two sums of each chunk, and what a kernel keeps beside them

DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
ADDRESS, LONG, FLOAT, INT = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_int
ARGUMENTS = {
    "normalize": [*[ADDRESS] * 10, LONG, LONG, FLOAT, FLOAT, INT, INT],
    "differentiate": [*[ADDRESS] * 13, LONG, LONG, INT, INT],
}
COMPILERS = ("g++", "c++", "clang++")  # the first that there is
PATIENCE = 120  # seconds; one that takes longer hangs, as on a file system that does not answer
COMPILE = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fopenmp", "-c")
LINK = ("-shared",)  # not -fopenmp: threads are those of the OpenMP that torch has loaded, not a second team


class Unavailable(Exception):
    """There is no suitable compiler; the message is a part of a sentence that says what is missing."""


class Normalized(NamedTuple):
    """A normalised batch, and the statistics for its gradients."""

    y: Tensor
    mean_C: Tensor
    rstd_C: Tensor


class Gradients(NamedTuple):
    """The gradients of the inputs of ``Kernels.normalize``."""

    dz: Tensor
    dscale_C: Tensor
    dshift_C: Tensor
    dresidual: Tensor | None


@dataclass(frozen=True)
class Kernels:
    """The kernels of processor.cpp, compiled. Sums have the same bits at every call."""

    library: ctypes.CDLL
    name: str  # the digest of its machine code, which decides on the bits of its sums

    def __post_init__(self) -> None:
        for (kernel, arguments), dtype in product(ARGUMENTS.items(), DTYPES.values()):
            function = getattr(self.library, f"{kernel}_{dtype}")
            function.argtypes, function.restype = arguments, None

    def serve(self, x: Tensor, channels: int) -> bool:
        return x.device.type == "cpu" and x.dtype in DTYPES and channels % LANES == 0

    def normalize(
        self, z: Tensor, norm: nn.BatchNorm2d, scale_C: Tensor, shift_C: Tensor, residual: Tensor | None,
        relu: bool,
    ) -> Normalized:  # fmt: skip
        """Compute relu(batch_norm(z) + residual) in training mode; residual and ReLU are optional.

        ``scale_C`` and ``shift_C`` replace those of ``norm``, whose running statistics are updated. z has two
        pixels or more.
        """
        channels = z.shape[1]
        assert z.numel() > channels and norm.momentum is not None and norm.running_mean is not None
        mean_C, rstd_C = torch.empty(channels), torch.empty(channels)
        y = torch.empty_like(z)
        self._call(
            "normalize", z, residual, y, scale_C, shift_C, norm.running_mean, norm.running_var, mean_C,
            rstd_C, torch.empty(SCRATCH * channels), z.numel() // channels, channels, norm.eps,
            norm.momentum, relu,
        )  # fmt: skip
        return Normalized(y, mean_C, rstd_C)

    def differentiate(
        self, dy: Tensor, beside: Tensor | None, z: Tensor, normalized: Normalized, scale_C: Tensor,
        shift_C: Tensor, residual: bool, relu: bool,
    ) -> Gradients:  # fmt: skip
        """Backward pass of ``normalize``; the gradient of its output is ``dy``, or ``dy + beside``."""
        channels = z.shape[1]
        y, mean_C, rstd_C = normalized
        dscale_C, dshift_C = torch.empty(channels), torch.empty(channels)
        dz = torch.empty_like(z)
        dresidual = torch.empty_like(z) if residual else None
        self._call(
            "differentiate", dy, beside, y, z, dz, dresidual, scale_C, shift_C, mean_C, rstd_C, dscale_C,
            dshift_C, torch.empty(SCRATCH * channels), z.numel() // channels, channels, relu,
        )  # fmt: skip
        return Gradients(dz, dscale_C, dshift_C, dresidual)

    def _call(self, kernel: str, first: Tensor, *rest: Tensor | float | None) -> None:
        function = getattr(self.library, f"{kernel}_{DTYPES[first.dtype]}")
        values = [one.data_ptr() if isinstance(one, Tensor) else one for one in (first, *rest)]
        function(*values, torch.get_num_threads())


def compiled_kernels() -> Kernels:
    """Return the kernels, compiled at the first call; raises Unavailable."""
    constants = f"constexpr long LANES = {LANES}, CHUNKS = {CHUNKS};\n"
    try:
        return Kernels(*compile_source(constants + SOURCE))
    except AttributeError as error:
        raise Unavailable(f"what the C++ compiler makes lacks a kernel ({error})") from None


@cache
def compile_source(source: str) -> tuple[ctypes.CDLL, str]:
    """Compile C++ ``source``; return the library and its digest. Raises Unavailable, but nothing else.

    This takes a second or two in every process. A stored library would have to be trusted, and to be kept up
    to date with compilers and processors.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise Unavailable(
            f"there is no C++ compiler, neither {', '.join(COMPILERS[:-1])} nor {COMPILERS[-1]}"
        )
    try:
        with TemporaryDirectory() as directory:
            unit, library = (str(Path(directory) / name) for name in ("kernels.o", "kernels.so"))
            _run([compiler, "-x", "c++", *COMPILE, "-", "-o", unit], source)
            _run([compiler, *LINK, unit, "-o", library], "")
            digest = hashlib.sha256(Path(library).read_bytes()).hexdigest()
            return ctypes.CDLL(library), digest
    except OSError as error:
        raise Unavailable(f"what {compiler} compiles cannot be loaded ({error})") from None


def _run(line: list[str], text: str) -> None:
    english = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            line, input=text, capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE,
            env=english,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{line[0]} has not compiled what is needed in {PATIENCE} seconds") from None
    if done.returncode:
        complaint = next((one for one in done.stderr.splitlines() if "error" in one), "it says nothing")
        raise Unavailable(f"{line[0]} cannot compile what is needed ({complaint})")


def serves_folded(x: Tensor) -> bool:
    """Tell whether ``folded_layer`` can take ``x`` here; an exported graph must run elsewhere, too."""
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available() or torch.compiler.is_exporting():
        return False
    return x.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def folded_layer(x: Tensor, conv: nn.Conv2d, residual: Tensor | None, relu: bool) -> Tensor:
    """Compute relu(conv(x) + residual), the last two optional, without gradients; x float32 or bfloat16."""
    assert conv.bias is not None
    values, bias = conv.weight.to(x.dtype), conv.bias.to(x.dtype)
    form = (list(conv.padding), list(conv.stride), [1, 1], 1)
    activation = "relu" if relu else None
    convolve = torch.ops.mkldnn._convolution_pointwise  # which torch's own compiler uses for this
    if residual is None:
        y: Tensor = convolve(x, values, bias, *form, activation or "none", [], "")
        return y
    try:
        y = convolve.binary(x, residual, values, bias, *form, "add", 1.0, activation, [], None)
    except RuntimeError:  # of torch 2.10, for results of one channel or one pixel
        y = convolve(x, values, bias, *form, "none", [], "") + residual
        y = y.relu_() if relu else y
    return y
