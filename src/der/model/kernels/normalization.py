"""Triton kernels of batch normalisation, addition and ReLU in one: two launches forward, two backward.

A network for small images spends its time on launching kernels, not in them. Sums are taken per tile and
combined in a fixed order, so the bits are the same every time.

# M rows (every pixel of every image), C channels, P tiles of rows
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from der.model.kernels.convolution import Moments

# Chosen by measurement on an H100.
PROGRAM_ROWS = {16: 512, 32: 256, 64: 64}  # rows of a program at a time, by its channels
MAX_TILES = 256  # partial sums that every program adds up again


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


class Launch(NamedTuple):
    """How x (B, C, H, W), channels last, is dealt out."""

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
    """Moments of x (B, C, H, W), channels last."""
    launch = _launch(x)
    means, squares = x.new_empty((2, launch.tiles, x.shape[1]), dtype=torch.float32)
    _moments[launch.sum_grid](x, means, squares, launch.rows, launch.span, **launch.shape)
    return Moments(means, squares, launch.span)


def normalize(
    x: Tensor, moments: Moments, norm: nn.BatchNorm2d, scale: Tensor, shift: Tensor,
    residual: Tensor | None, relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """relu(scale * xhat + shift + residual) with the batch's moments; mean and 1 / deviation, (C,) float32.

    The running statistics of ``norm`` move as in training mode.
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


class NormGradients(NamedTuple):
    """Gradients of what entered ``normalize``."""

    dx: Tensor
    dweight: Tensor
    dbias: Tensor
    dresidual: Tensor | None


def normalize_gradients(
    dy: Tensor, y: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, residual: bool, relu: bool
) -> NormGradients:
    """Backward pass of ``normalize``, from its input x, its output y and what it returned."""
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
    return NormGradients(dx, dweight, dbias, dresidual)
