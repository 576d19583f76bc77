"""Triton kernels of 3x3 convolutions with few channels, stride 1, padding 1, channels last.

cuDNN's tiles are made for wide layers: at 16 to 64 channels most of a tile is padding. Here a program
keeps a stretch of pixels and all their channels. Sums run in a fixed order, so the bits are the same every
time. Accumulation is in float32.

# M pixels of all images, K channels in, N channels out, P tiles of pixels
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


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
            # Of the rounded values, which are what is normalised. Joined as in normalization._moments.
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


class Moments(NamedTuple):
    """Mean and sum of squared deviations of tiles of ``span`` pixels, each (P, N) float32."""

    means: Tensor
    squares: Tensor
    span: int


WIDTHS = (16, 32, 64)
DTYPE = torch.bfloat16  # in float32, cuDNN's kernels are as good


def suits(weight: Tensor, stride: int) -> bool:
    """Whether these kernels serve a convolution; ``weight`` is (N, K, 3, 3)."""
    channels, channels_in, *kernel = weight.shape
    few = channels in WIDTHS and channels_in in WIDTHS
    return few and kernel == [3, 3] and stride == 1 and weight.dtype == DTYPE


# Chosen by measurement on an H100, by the larger number of channels; any values give the same sums of a tile.
MAX_TILES = 256  # programs of a convolution whose moments are kept
ROWS = {16: 256, 32: 128, 64: 64}  # pixels of a program at a time
WEIGHT_ROWS = 64  # likewise, in the gradient of the weight
WEIGHT_TILES = {16: 128, 32: 32, 64: 32}
WARPS = 4
STAGES = 1  # more would hold the pixels of several taps in shared memory
WEIGHT_STAGES = 3


def _empty(like: Tensor, channels: int) -> Tensor:
    shape = (like.shape[0], channels, *like.shape[2:])
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _span(pixels: int, rows: int, max_tiles: int) -> int:
    return triton.cdiv(triton.cdiv(pixels, rows), max_tiles) * rows


def convolve(x: Tensor, weight: Tensor) -> tuple[Tensor, Moments]:
    """Convolution of x (B, K, H, W) with weight (N, K, 3, 3), both channels last, and its moments."""
    y = _empty(x, weight.shape[0])
    channels_in, channels_out = weight.shape[1], weight.shape[0]
    pixels = x.numel() // channels_in
    rows = ROWS[max(channels_in, channels_out)]
    span = _span(pixels, rows, MAX_TILES)
    tiles = triton.cdiv(pixels, span)
    means, squares = x.new_empty((2, tiles, channels_out), dtype=torch.float32)
    _convolve[(tiles,)](
        x, weight, y, y, y, means, squares, pixels, span, x.shape[2], x.shape[3],
        K=channels_in, N=channels_out, W_K=1, W_N=9 * channels_in, W_TAP=channels_in,
        FLIP=False, MOMENTS=True, BIAS=False, RESIDUAL=False, RELU=False, ROWS=rows, num_warps=WARPS,
        num_stages=STAGES,
    )  # fmt: skip
    return y, Moments(means, squares, span)


def convolve_activated(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None) -> Tensor:
    """relu(conv(x) + bias + residual), for frozen extractors with folded batch normalisation."""
    y = _empty(x, weight.shape[0])
    channels_in, channels_out = weight.shape[1], weight.shape[0]
    pixels = x.numel() // channels_in
    rows = ROWS[max(channels_in, channels_out)]
    _convolve[(triton.cdiv(pixels, rows),)](
        x, weight, y, bias, y if residual is None else residual, y, y, pixels, rows, x.shape[2], x.shape[3],
        K=channels_in, N=channels_out, W_K=1, W_N=9 * channels_in, W_TAP=channels_in,
        FLIP=False, MOMENTS=False, BIAS=True, RESIDUAL=residual is not None, RELU=True, ROWS=rows,
        num_warps=WARPS,
        num_stages=STAGES,
    )  # fmt: skip
    return y


def input_gradient(dy: Tensor, weight: Tensor) -> Tensor:
    """Gradient (B, K, H, W) of the input, from dy (B, N, H, W) and weight (N, K, 3, 3)."""
    dx = _empty(dy, weight.shape[1])
    channels_in, channels_out = weight.shape[1], weight.shape[0]
    pixels = dy.numel() // channels_out
    rows = ROWS[max(channels_in, channels_out)]
    _convolve[(triton.cdiv(pixels, rows),)](
        dy, weight, dx, dx, dx, dx, dx, pixels, rows, dy.shape[2], dy.shape[3],
        K=channels_out, N=channels_in, W_K=9 * channels_in, W_N=1, W_TAP=channels_in,
        FLIP=True, MOMENTS=False, BIAS=False, RESIDUAL=False, RELU=False, ROWS=rows, num_warps=WARPS,
        num_stages=STAGES,
    )  # fmt: skip
    return dx


def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    """Gradient (N, K, 3, 3) float32, channels last, of the weight."""
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
