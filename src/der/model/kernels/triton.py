"""Triton kernels for CUDA: a layer in training as one operation, and frozen layers.

A network for small images at batch 128 spends its time on launching kernels, and on convolution tiles for
wider layers: with 16 to 64 channels most of a cuDNN tile is padding. Here each program handles a range of
pixels with all their channels. A layer takes two or three launches forward and five backward. The weight's
gradient runs on its own stream, off the critical path. kernels/layers.py has the formulas.

Sums are taken per tile and combined in a fixed order, so the bits are the same every time; they are float32.

# M rows, the pixels of all images; K channels in, N channels out, or C channels; P tiles of rows
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn

from der.model.kernels.processor import Gradients

WIDTHS = (16, 32, 64)  # channels of the convolutions that are served
DTYPE = torch.bfloat16  # in float32, cuDNN's kernels are as good

# Chosen by measurement on an H100, by the larger number of channels; any values give the same sums of a tile.
MAX_TILES = 256  # whose moments or sums are kept, and added up again by every program
ROWS = {16: 256, 32: 128, 64: 64}  # pixels of a program at a time
WEIGHT_ROWS = 64  # likewise, in the gradient of the weight
WEIGHT_TILES = {16: 128, 32: 32, 64: 32}
PROGRAM_ROWS = {16: 512, 32: 256, 64: 64}  # likewise, in a normalisation
WARPS = 4
STAGES = 1  # more would hold the pixels of several taps in shared memory
WEIGHT_STAGES = 3


class FusedConvNorm(torch.autograd.Function):
    """Computes relu(batch_norm(conv(x)) + residual) of a layer in training mode.

    ``values`` are the weight's values in the dtype of x; the gradient goes to ``weight``. ``layer`` is the
    ConvNorm; autograd sees only its tensors.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None,
        values: Tensor, layer: Any,
    ) -> Tensor:  # fmt: skip
        assert x.numel() < 2**31, "the kernels count in 32 bits"
        stride = layer.conv.stride[0]
        few_channels = suits(values, stride)
        x, residual = _channels_last(x), None if residual is None else _channels_last(residual)
        if few_channels:
            z, moments = convolve(x, values)
        else:
            z = _channels_last(F.conv2d(x, values, None, stride, layer.conv.padding))
            moments = measure_moments(z)
        y, mean, rstd = normalize(z, moments, layer.norm, scale, shift, residual, layer.relu)
        ctx.save_for_backward(x, values, z, y, mean, rstd, scale)
        ctx.conv, ctx.relu, ctx.side = layer.conv, layer.relu, layer.side
        ctx.few_channels, ctx.residual = few_channels, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, values, z, y, mean, rstd, scale = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        grads = normalize_gradients(dy, y, z, mean, rstd, scale, ctx.residual, ctx.relu)
        with _beside(ctx.side, x, grads.dz):
            if ctx.few_channels:
                dw = weight_gradient(x, grads.dz, values)
            else:
                dw = _cudnn_gradients(grads.dz, x, values, ctx.conv, [False, True, False])[1].float()
            # As the weight lies, so that autograd takes it over: a copy would not wait for this stream.
            dw = _channels_last(dw)
        dx = None
        if ctx.needs_input_grad[0]:
            if ctx.few_channels:
                dx = input_gradient(grads.dz, values)
            else:
                dx = _cudnn_gradients(grads.dz, x, values, ctx.conv, [True, False, False])[0]
        return dx, dw, grads.dscale_C, grads.dshift_C, grads.dresidual, None, None


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _cudnn_gradients(
    dy: Tensor, x: Tensor, weight: Tensor, conv: nn.Conv2d, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        dy, x, weight, [0], list(conv.stride), list(conv.padding), [1, 1], False, [0, 0], 1, wanted
    )


@contextmanager
def _beside(side: torch.cuda.Stream | None, *inputs: Tensor) -> Iterator[None]:
    """Run the block on the stream ``side`` after the current work; keep ``inputs`` until it is done."""
    if side is None:
        yield
        return
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        yield
    for tensor in inputs:
        tensor.record_stream(side)


def folded_layer(x: Tensor, conv: nn.Conv2d, residual: Tensor | None, relu: bool) -> Tensor:
    """Compute relu(conv(x) + residual) of a frozen, folded layer; residual and ReLU are optional."""
    assert conv.bias is not None
    assert x.numel() < 2**31, "the kernels count in 32 bits"
    if relu and suits(conv.weight, conv.stride[0]):
        residual = None if residual is None else _channels_last(residual)
        return convolve_activated(_channels_last(x), conv.weight, conv.bias, residual)
    y = F.conv2d(x, conv.weight, conv.bias.to(x.dtype), conv.stride, conv.padding)
    y = y if residual is None else y + residual
    return F.relu(y) if relu else y


class Moments(NamedTuple):
    """Means and sums of squared deviations of tiles of ``span`` pixels, each (P, N) float32."""

    means: Tensor
    squares: Tensor
    span: int


def suits(weight: Tensor, stride: int) -> bool:
    """Tell whether these kernels support a convolution; ``weight`` is (N, K, 3, 3)."""
    channels, channels_in, *kernel = weight.shape
    few = channels in WIDTHS and channels_in in WIDTHS
    return few and kernel == [3, 3] and stride == 1 and weight.dtype == DTYPE


def _empty(like: Tensor, channels: int) -> Tensor:
    shape = (like.shape[0], channels, *like.shape[2:])
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _span(pixels: int, rows: int, max_tiles: int) -> int:
    return triton.cdiv(triton.cdiv(pixels, rows), max_tiles) * rows


def convolve(x: Tensor, weight: Tensor) -> tuple[Tensor, Moments]:
    """Convolve x (B, K, H, W) with weight (N, K, 3, 3), both channels last; return also the moments."""
    channels, channels_in, *_ = weight.shape
    pixels, y = x.numel() // channels_in, _empty(x, channels)
    span = _span(pixels, ROWS[max(channels_in, channels)], MAX_TILES)
    means, squares = x.new_empty((2, triton.cdiv(pixels, span), channels), dtype=torch.float32)
    moments = Moments(means, squares, span)
    _launch_convolve(x, weight, y, moments=moments)
    return y, moments


def convolve_activated(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None) -> Tensor:
    """Compute relu(conv(x) + bias + residual) for frozen extractors with folded batch normalisation."""
    y = _empty(x, weight.shape[0])
    _launch_convolve(x, weight, y, bias, residual)
    return y


def input_gradient(dy: Tensor, weight: Tensor) -> Tensor:
    """Compute the input's gradient (B, K, H, W) from dy (B, N, H, W) and weight (N, K, 3, 3)."""
    dx = _empty(dy, weight.shape[1])
    _launch_convolve(dy, weight, dx, flip=True)
    return dx


def _launch_convolve(
    x: Tensor, weight: Tensor, y: Tensor, bias: Tensor | None = None, residual: Tensor | None = None,
    moments: Moments | None = None, flip: bool = False,
) -> None:  # fmt: skip
    """Fill y, and moments if given; a bias also means activation; ``flip`` means the backward pass."""
    channels_in, channels_out, row = x.shape[1], y.shape[1], 9 * weight.shape[1]
    rows, pixels = ROWS[max(channels_in, channels_out)], x.numel() // channels_in
    means, squares, span = moments or (y, y, rows)
    _convolve[(triton.cdiv(pixels, span),)](
        x, weight, y, y if bias is None else bias, y if residual is None else residual, means, squares,
        pixels, span, x.shape[2], x.shape[3], K=channels_in, N=channels_out, W_K=row if flip else 1,
        W_N=1 if flip else row, W_TAP=weight.shape[1], FLIP=flip, MOMENTS=moments is not None,
        BIAS=bias is not None, RESIDUAL=residual is not None, RELU=bias is not None, ROWS=rows,
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip


def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    """Compute the weight's gradient (N, K, 3, 3) float32, channels last."""
    channels_in, channels_out = weight.shape[1], weight.shape[0]
    pixels = dy.numel() // channels_out
    span = _span(pixels, WEIGHT_ROWS, WEIGHT_TILES[max(channels_in, channels_out)])
    tiles = triton.cdiv(pixels, span)
    parts = x.new_empty((tiles, 9, channels_in, channels_out), dtype=torch.float32)
    dw = torch.empty_like(weight, dtype=torch.float32, memory_format=torch.channels_last)
    _weight_gradient_parts[(tiles, 3)](
        x, dy, parts, pixels, span, x.shape[2], x.shape[3], K=channels_in, N=channels_out, ROWS=WEIGHT_ROWS,
        num_warps=WARPS, num_stages=WEIGHT_STAGES,
    )  # fmt: skip
    values = 256
    grid = (triton.cdiv(9 * channels_in * channels_out, values),)
    _add_parts[grid](
        parts, dw, tiles, K=channels_in, N=channels_out, TILES=triton.next_power_of_2(tiles), VALUES=values
    )
    return dw


@triton.jit
def _convolve(
    x, w, y, bias, residual, means, squares, M, SPAN, H, W,
    K: tl.constexpr, N: tl.constexpr, W_K: tl.constexpr, W_N: tl.constexpr, W_TAP: tl.constexpr,
    FLIP: tl.constexpr, MOMENTS: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    RELU: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """y (M, N) from x (M, K); W_K, W_N and W_TAP are the strides of w; FLIP turns the taps around.

    MOMENTS keeps mean and sum of squared deviations of each tile of SPAN pixels, (P, N) float32.
    """
    tile = tl.program_id(0)
    k = tl.arange(0, K)
    n = tl.arange(0, N)
    mean = tl.zeros([N], tl.float32)
    square = tl.zeros([N], tl.float32)
    seen = 0.0
    for start in range(tile * SPAN, tl.minimum((tile + 1) * SPAN, M), ROWS):
        m = start + tl.arange(0, ROWS)
        row = (m // W) % H
        col = m % W
        total = tl.zeros([ROWS, N], tl.float32)
        for tap in tl.static_range(9):
            down = tap // 3 - 1
            right = tap % 3 - 1
            inside = (row + down >= 0) & (row + down < H) & (col + right >= 0) & (col + right < W) & (m < M)
            pixels = tl.load(x + (m + down * W + right)[:, None] * K + k[None, :], inside[:, None], 0.0)
            place = 8 - tap if FLIP else tap
            weights = tl.load(w + place * W_TAP + k[:, None] * W_K + n[None, :] * W_N)
            total = tl.dot(pixels, weights, total)
        places = m[:, None] * N + n[None, :]
        known = (m < M)[:, None]
        if BIAS:
            total += tl.load(bias + n)[None, :]
        if RESIDUAL:
            total += tl.load(residual + places, known, 0.0).to(tl.float32)
        if RELU:
            total = tl.maximum(total, 0.0)
        out = total.to(y.dtype.element_ty)
        tl.store(y + places, out, known)
        if MOMENTS:
            # Of the rounded values, which are what is normalised. Joined as in _moments.
            values = tl.where(known, out.to(tl.float32), 0.0)
            count = tl.minimum(ROWS, M - start).to(tl.float32)
            here = tl.sum(values, 0) / count
            deviation = tl.where(known, values - here[None, :], 0.0)
            shift = here - mean
            square += tl.sum(deviation * deviation, 0) + shift * shift * (seen * count / (seen + count))
            seen += count
            mean += shift * (count / seen)
    if MOMENTS:
        tl.store(means + tile * N + n, mean)
        tl.store(squares + tile * N + n, square)


@triton.jit
def _weight_gradient_parts(x, dy, parts, M, SPAN, H, W, K: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr):
    """Sums of x (shifted by a tap) times dy over each tile of SPAN pixels, parts (P, 9, K, N) float32.

    A program does the three taps of one row of the kernel.
    """
    tile = tl.program_id(0)
    down = tl.program_id(1) - 1
    k = tl.arange(0, K)
    n = tl.arange(0, N)
    left = tl.zeros([K, N], tl.float32)
    middle = tl.zeros([K, N], tl.float32)
    right = tl.zeros([K, N], tl.float32)
    for start in range(tile * SPAN, tl.minimum((tile + 1) * SPAN, M), ROWS):
        m = start + tl.arange(0, ROWS)
        row = (m // W) % H
        col = m % W
        inside = (row + down >= 0) & (row + down < H) & (m < M)
        grad = tl.load(dy + m[:, None] * N + n[None, :], (m < M)[:, None], 0.0)
        pixels = x + (m + down * W)[None, :] * K + k[:, None]
        left = tl.dot(tl.load(pixels - K, (inside & (col > 0))[None, :], 0.0), grad, left)
        middle = tl.dot(tl.load(pixels, inside[None, :], 0.0), grad, middle)
        right = tl.dot(tl.load(pixels + K, (inside & (col < W - 1))[None, :], 0.0), grad, right)
    out = parts + (tile * 9 + (down + 1) * 3) * K * N + k[:, None] * N + n[None, :]
    tl.store(out, left)
    tl.store(out + K * N, middle)
    tl.store(out + 2 * K * N, right)


@triton.jit
def _add_parts(parts, dw, P, K: tl.constexpr, N: tl.constexpr, TILES: tl.constexpr, VALUES: tl.constexpr):
    """dw (N, 9, K) from parts (P, 9, K, N)."""
    at = tl.program_id(0) * VALUES + tl.arange(0, VALUES)
    tiles = tl.arange(0, TILES)
    known = (tiles < P)[:, None] & (at < 9 * K * N)[None, :]
    total = tl.sum(tl.load(parts + tiles[:, None] * (9 * K * N) + at[None, :], known, 0.0), 0)
    n = at % N
    k = (at // N) % K
    tap = at // (N * K)
    tl.store(dw + n * (9 * K) + tap * K + k, total, at < 9 * K * N)


class Launch(NamedTuple):
    """How x (B, C, H, W), channels last, is divided over programs."""

    rows: int  # M
    tiles: int  # P, of the sums
    span: int  # rows of a tile
    sum_grid: tuple[int, int]
    value_grid: tuple[int, int]
    shape: dict[str, int]


def _launch(x: Tensor) -> Launch:
    channels = x.shape[1]
    rows = x.numel() // channels
    cols = min(max(16, triton.next_power_of_2(channels)), 64)
    part_rows = PROGRAM_ROWS[cols]
    parts = triton.cdiv(rows, part_rows)
    span = triton.cdiv(parts, MAX_TILES) * part_rows
    tiles = triton.cdiv(rows, span)
    columns = triton.cdiv(channels, cols)
    shape = {"C": channels, "ROWS": part_rows, "COLS": cols}
    return Launch(rows, tiles, span, (tiles, columns), (parts, columns), shape)


def measure_moments(x: Tensor) -> Moments:
    """Compute the moments of x (B, C, H, W), channels last."""
    launch = _launch(x)
    means, squares = x.new_empty((2, launch.tiles, x.shape[1]), dtype=torch.float32)
    _moments[launch.sum_grid](x, means, squares, launch.rows, launch.span, **launch.shape)
    return Moments(means, squares, launch.span)


def normalize(
    x: Tensor, moments: Moments, norm: nn.BatchNorm2d, scale: Tensor, shift: Tensor,
    residual: Tensor | None, relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Compute relu(scale * xhat + shift + residual) by the batch's moments, and mean and 1 / deviation.

    It updates the running statistics of ``norm`` as in training mode.
    """
    launch = _launch(x)
    y = torch.empty_like(x)
    mean, rstd = x.new_empty((2, x.shape[1]), dtype=torch.float32)
    tiles = len(moments.means)
    _normalize[launch.value_grid](
        x, y if residual is None else residual, y, scale, shift, moments.means, moments.squares,
        mean, rstd, norm.running_mean, norm.running_var, launch.rows, tiles, moments.span, norm.eps,
        norm.momentum, **launch.shape, TILES=triton.next_power_of_2(tiles), RESIDUAL=residual is not None,
        RELU=relu,
    )  # fmt: skip
    return y, mean, rstd


def normalize_gradients(
    dy: Tensor, y: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, residual: bool, relu: bool
) -> Gradients:
    """Backward pass of ``normalize``, from its input x and its results."""
    launch = _launch(x)
    tiles = launch.tiles
    sums, products = x.new_empty((2, tiles, x.shape[1]), dtype=torch.float32)
    dweight, dbias = x.new_empty((2, x.shape[1]), dtype=torch.float32)
    dx = torch.empty_like(x)
    dresidual = torch.empty_like(x) if residual else None
    _gradient_sums[launch.sum_grid](
        dy, y, x, mean, rstd, sums, products, launch.rows, launch.span, **launch.shape, RELU=relu
    )
    _gradient[launch.value_grid](
        dy, y, x, mean, rstd, weight, sums, products, dx, dx if dresidual is None else dresidual, dweight,
        dbias, launch.rows, tiles, **launch.shape, TILES=triton.next_power_of_2(tiles), RESIDUAL=residual,
        RELU=relu,
    )  # fmt: skip
    return Gradients(dx, dweight, dbias, dresidual)


@triton.jit
def _moments(x, means, squares, M, SPAN, C: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Mean and sum of squared deviations of each tile of SPAN rows, (P, C) float32."""
    tile = tl.program_id(0)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    mean = tl.zeros([COLS], tl.float32)
    square = tl.zeros([COLS], tl.float32)
    seen = 0.0
    for start in range(tile * SPAN, tl.minimum((tile + 1) * SPAN, M), ROWS):
        rows = start + tl.arange(0, ROWS)
        inside = (rows < M)[:, None] & (cols < C)[None, :]
        values = tl.load(x + rows[:, None] * C + cols[None, :], inside, 0.0).to(tl.float32)
        count = tl.minimum(ROWS, M - start).to(tl.float32)
        here = tl.sum(values, 0) / count
        deviation = tl.where(inside, values - here[None, :], 0.0)
        # Chan et al. 1979: joins parts without the cancellation of E[x^2] - E[x]^2.
        shift = here - mean
        square += tl.sum(deviation * deviation, 0) + shift * shift * (seen * count / (seen + count))
        seen += count
        mean += shift * (count / seen)
    tl.store(means + tile * C + cols, mean, cols < C)
    tl.store(squares + tile * C + cols, square, cols < C)


@triton.jit
def _normalize(
    x, residual, y, weight, bias, means, squares, mean_out, rstd_out, running_mean, running_var,
    M, P, SPAN, eps, momentum, C: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr,
    RESIDUAL: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """y = relu(weight * xhat + bias + residual); the first program also keeps the statistics."""
    part = tl.program_id(0)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    tiles = tl.arange(0, TILES)
    known = (tiles < P)[:, None] & (cols < C)[None, :]
    tile_means = tl.load(means + tiles[:, None] * C + cols[None, :], known, 0.0)
    tile_squares = tl.load(squares + tiles[:, None] * C + cols[None, :], known, 0.0)
    counts = tl.maximum(tl.minimum(SPAN, M - tiles * SPAN), 0).to(tl.float32)[:, None]
    mean = tl.sum(tile_means * counts, 0) / M
    shift = tile_means - mean[None, :]
    square = tl.sum(tile_squares + counts * shift * shift, 0)
    rstd = tl.rsqrt(square / M + eps)
    rows = part * ROWS + tl.arange(0, ROWS)
    inside = (rows < M)[:, None] & (cols < C)[None, :]
    places = rows[:, None] * C + cols[None, :]
    values = tl.load(x + places, inside, 0.0).to(tl.float32)
    scale = tl.load(weight + cols, cols < C, 0.0)
    offset = tl.load(bias + cols, cols < C, 0.0)
    out = (values - mean[None, :]) * (rstd * scale)[None, :] + offset[None, :]
    if RESIDUAL:
        out += tl.load(residual + places, inside, 0.0).to(tl.float32)
    if RELU:
        out = tl.maximum(out, 0.0)
    tl.store(y + places, out.to(y.dtype.element_ty), inside)
    if part == 0:
        tl.store(mean_out + cols, mean, cols < C)
        tl.store(rstd_out + cols, rstd, cols < C)
        old_mean = tl.load(running_mean + cols, cols < C, 0.0)
        old_var = tl.load(running_var + cols, cols < C, 0.0)
        tl.store(running_mean + cols, old_mean + momentum * (mean - old_mean), cols < C)
        tl.store(running_var + cols, old_var + momentum * (square / (M - 1) - old_var), cols < C)


@triton.jit
def _gradient_sums(
    dy, y, x, mean, rstd, sums, products, M, SPAN,
    C: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Sum of the gradient, and of its product with xhat, over each tile, (P, C) float32."""
    tile = tl.program_id(0)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    center = tl.load(mean + cols, cols < C, 0.0)
    inverse = tl.load(rstd + cols, cols < C, 0.0)
    sum_grad = tl.zeros([COLS], tl.float32)
    sum_product = tl.zeros([COLS], tl.float32)
    for start in range(tile * SPAN, tl.minimum((tile + 1) * SPAN, M), ROWS):
        rows = start + tl.arange(0, ROWS)
        inside = (rows < M)[:, None] & (cols < C)[None, :]
        places = rows[:, None] * C + cols[None, :]
        grad = tl.load(dy + places, inside, 0.0).to(tl.float32)
        if RELU:
            grad = tl.where(tl.load(y + places, inside, 0.0) > 0, grad, 0.0)
        values = tl.load(x + places, inside, 0.0).to(tl.float32)
        xhat = (values - center[None, :]) * inverse[None, :]
        sum_grad += tl.sum(grad, 0)
        sum_product += tl.sum(grad * xhat, 0)
    tl.store(sums + tile * C + cols, sum_grad, cols < C)
    tl.store(products + tile * C + cols, sum_product, cols < C)


@triton.jit
def _gradient(
    dy, y, x, mean, rstd, weight, sums, products, dx, dresidual, dweight, dbias,
    M, P, C: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr,
    RESIDUAL: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Gradients of everything that entered ``_normalize``."""
    part = tl.program_id(0)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    tiles = tl.arange(0, TILES)
    known = (tiles < P)[:, None] & (cols < C)[None, :]
    sum_grad = tl.sum(tl.load(sums + tiles[:, None] * C + cols[None, :], known, 0.0), 0)
    sum_product = tl.sum(tl.load(products + tiles[:, None] * C + cols[None, :], known, 0.0), 0)
    rows = part * ROWS + tl.arange(0, ROWS)
    inside = (rows < M)[:, None] & (cols < C)[None, :]
    places = rows[:, None] * C + cols[None, :]
    grad = tl.load(dy + places, inside, 0.0).to(tl.float32)
    if RELU:
        grad = tl.where(tl.load(y + places, inside, 0.0) > 0, grad, 0.0)
    if RESIDUAL:
        tl.store(dresidual + places, grad.to(dresidual.dtype.element_ty), inside)
    values = tl.load(x + places, inside, 0.0).to(tl.float32)
    inverse = tl.load(rstd + cols, cols < C, 0.0)
    center = tl.load(mean + cols, cols < C, 0.0)
    xhat = (values - center[None, :]) * inverse[None, :]
    scale = tl.load(weight + cols, cols < C, 0.0) * inverse
    out = scale[None, :] * (grad - (sum_grad / M)[None, :] - xhat * (sum_product / M)[None, :])
    tl.store(dx + places, out.to(dx.dtype.element_ty), inside)
    if part == 0:
        tl.store(dweight + cols, sum_product, cols < C)
        tl.store(dbias + cols, sum_grad, cols < C)
