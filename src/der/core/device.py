"""Chooses the device and the precision, makes arithmetic deterministic, and makes memory be reused."""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

import torch
from torch import Tensor

from der.core import cost, registry
from der.core.errors import UserError

# Of the extractors' arithmetic; weights, classifiers, losses and updates stay in float32.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

CHOOSING_KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG")
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")  # of cuBLAS, that allow reproducible results
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
HEAP = 5 * 2**28  # bytes that lie in large pages
BLOCK = 31 * 2**20  # bytes that malloc still takes from its heap
LARGE_PAGE, MADV_HUGEPAGE = 2**21, 14  # bytes; of Linux's mman.h


def choose_device(override: object) -> torch.device:
    """Choose CUDA, else Apple's GPU, else the CPU; ``override`` (cuda:1, mps, cpu) decides if it is given."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if override is None or override == "":
        return torch.device(next(name for name, here in available.items() if here))
    try:
        device = torch.device(override) if isinstance(override, str | torch.device) else None
    except RuntimeError:
        device = None
    if device is None or device.type not in available:
        raise UserError(f"{override!r} is no device; write cuda, mps or cpu")
    if not available[device.type]:
        raise UserError(f"{override!r} is not available on this machine; write cpu, or nothing")
    return device


def set_up_device(override: str | None) -> torch.device:
    """Select the device, make it current, enable determinism and the reuse of memory. Call this first."""
    make_deterministic()
    reuse_freed_memory()
    device = choose_device(override)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams, graphs and our own kernels go to the current one
    return device


def choose_precision(name: str, device: torch.device, where: str) -> torch.dtype:
    """Return the dtype of images and layers; raises UserError if the GPU does not support it."""
    dtype = registry.look_up(PRECISIONS, name, where)
    is_old = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
    if dtype == torch.bfloat16 and is_old:
        raise UserError(f"{where}: this GPU has no bfloat16; write float32")
    return dtype


def take_part(device: torch.device, local_rank: int, count: int, threads_are_set: bool) -> torch.device:
    """Give one of ``count`` processes on this machine its own GPU, or its share of the threads."""
    if device.type == "cuda":
        gpus = torch.cuda.device_count()
        if count > gpus:
            raise UserError(
                f"{count} processes on this machine, which has {gpus} GPU{'' if gpus == 1 else 's'}; start "
                "at most as many"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    elif not threads_are_set:
        torch.set_num_threads(max(1, threads_at_start() // count))
    return device


@cache
def threads_at_start() -> int:
    """Return the number of threads that torch chose at the start."""
    return torch.get_num_threads()


def make_deterministic() -> None:
    """Make torch use only algorithms with the same bits every time. Call this before any CUDA work."""
    if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in DETERMINISTIC_WORKSPACES:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = DETERMINISTIC_WORKSPACES[0]  # read once, when CUDA starts
    # As use_deterministic_algorithms(True), which imports the compiler: seconds for every stage.
    torch.set_deterministic_debug_mode("error")
    # Filling fresh memory guards against reading it; nothing here does, and it costs a kernel each time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_flush_denormal(True)  # old weights decay towards zero; denormals are slow on CPUs


_reproducible = threading.Lock()
# For every thread in a block of ``reproducible``: the state that the first thread found.
_before: list[tuple[object, ...]] = []
_MODES = (  # which ``make_deterministic`` sets for all threads, beside the debug mode
    (torch.utils.deterministic, "fill_uninitialized_memory"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "allow_tf32"),
)


@contextmanager
def reproducible() -> Iterator[None]:
    """Apply ``make_deterministic`` in the block and restore the earlier state afterwards.

    Several threads may be in such blocks at once. CUDA's workspaces, which it reads at its start, stay set.
    """
    flushes = flushes_denormals()
    with _reproducible:
        found = torch.get_deterministic_debug_mode(), *(getattr(place, name) for place, name in _MODES)
        _before.append(_before[0] if _before else found)
        make_deterministic()  # for every thread: each has its own setting of denormals
    try:
        yield
    finally:
        with _reproducible:
            debug_mode, *values = _before.pop()
            if not _before:
                torch.set_deterministic_debug_mode(cast(int, debug_mode))
                for (place, name), value in zip(_MODES, values, strict=True):
                    setattr(place, name, value)
        torch.set_flush_denormal(flushes)


def flushes_denormals() -> bool:
    return not (torch.full((), 2.0**-1060, dtype=torch.float64) * 1).count_nonzero().item()


def reuse_freed_memory() -> None:
    """Make glibc keep the memory of freed tensors for later tensors; do nothing on other systems.

    By default glibc returns large blocks to the system, which clears every page before it reuses them: 8 to
    15 % of a step's time. This also asks Linux for pages of 2 MB where the heap grows next, because the
    lookup of pages of 4 KB takes a tenth of a step that uses hundreds of megabytes.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # bytes, the most it takes
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # Allocate and free: the heap keeps the addresses, and memory is used only when it is written.
    blocks = list(filter(None, (libc.malloc(BLOCK) for _ in range(HEAP // BLOCK))))
    if blocks:
        start, end = -(-min(blocks) // LARGE_PAGE) * LARGE_PAGE, max(blocks) + BLOCK
        if end - start < 2 * HEAP:  # in a row
            libc.madvise(start, (end - start) // LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy ``tensor`` to ``device`` without making the host wait for a GPU."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def name_arithmetic(device: torch.device) -> list[str]:
    """List everything outside the program that decides on the bits of sums on ``device``."""
    named = [torch.__version__, sys.version, str(device), cost.processor_name(), str(torch.get_num_threads())]
    named.append(torch.backends.cpu.get_cpu_capability())
    named += [os.environ.get(name, "") for name in CHOOSING_KERNELS]
    if device.type == "cuda":
        named += [torch.cuda.get_device_name(device), str(torch.backends.cudnn.version())]
    return named
