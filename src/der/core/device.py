"""Where the arithmetic runs, that it runs the same way twice, and what it keeps of memory."""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple, Self

import torch

from der.core.errors import UserError
from der.core.processor import processor_name

CHOOSING_KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG")
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")  # of cuBLAS, that allow reproducible results
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
HEAP = 5 * 2**28  # bytes that lie in large pages
BLOCK = 31 * 2**20  # bytes that malloc still takes from its heap
LARGE_PAGE, MADV_HUGEPAGE = 2**21, 14  # bytes; of Linux's mman.h


def choose_device(override: object) -> torch.device:
    """CUDA, else Apple's GPU, else the CPU; ``override`` ("cuda", "cuda:1", "mps", "cpu") decides instead.

    Raises UserError for a name torch does not know or a device this machine lacks.
    """
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
    """``choose_device``, made current, deterministic, with freed memory used again; before any other work."""
    make_deterministic()
    reuse_freed_memory()
    device = choose_device(override)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams, graphs and our own kernels go to the current one
    return device


def take_share(device: torch.device, place: int, count: int, threads_are_set: bool) -> torch.device:
    """The device of the process at ``place``, of ``count`` on this machine: a GPU, or some of the threads.

    Again the same for who asks again. Raises UserError, whatever the place, if there are fewer GPUs.
    """
    if device.type == "cuda":
        gpus = torch.cuda.device_count()
        if count > gpus:
            raise UserError(
                f"{count} processes on this machine, which has {gpus} GPU{'' if gpus == 1 else 's'}; start "
                "at most as many"
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    elif not threads_are_set:
        torch.set_num_threads(max(1, threads_at_start() // count))
    return device


@cache
def threads_at_start() -> int:
    """Torch's own choice, before any share is taken."""
    return torch.get_num_threads()


def make_deterministic() -> None:
    """Have torch use only algorithms that give the same bits every time; call before any CUDA work."""
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


class _Modes(NamedTuple):
    """What ``make_deterministic`` sets for all threads."""

    deterministic: int
    fill: bool
    benchmark: bool
    matmul_tf32: bool
    cudnn_tf32: bool

    @classmethod
    def read(cls) -> Self:
        return cls(
            torch.get_deterministic_debug_mode(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark,
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        )

    def restore(self) -> None:
        torch.set_deterministic_debug_mode(self.deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = self.fill  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = self.benchmark
        torch.backends.cuda.matmul.allow_tf32 = self.matmul_tf32
        torch.backends.cudnn.allow_tf32 = self.cudnn_tf32


class _Blocks:
    """The blocks of ``reproducible`` that threads are in."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.before: _Modes | None = None  # of the first of them

    def enter(self) -> None:
        with self.lock:
            if not self.count:
                self.before = _Modes.read()
            self.count += 1
            make_deterministic()  # also for one that is not the first: denormals are a thread's own matter

    def leave(self) -> None:
        with self.lock:
            self.count -= 1
            if not self.count and self.before is not None:
                self.before.restore()


_blocks = _Blocks()


@contextmanager
def reproducible() -> Iterator[None]:
    """``make_deterministic`` for a block; afterwards the process is set as it was before.

    Threads may be in such blocks at once: the last to leave puts back what the first found. What CUDA reads
    when it starts, its workspaces, stays.
    """
    flushes = flushes_denormals()
    _blocks.enter()
    try:
        yield
    finally:
        _blocks.leave()
        torch.set_flush_denormal(flushes)


def flushes_denormals() -> bool:
    """Whether this process takes numbers near zero for zero."""
    return not (torch.full((), 2.0**-1060, dtype=torch.float64) * 1).count_nonzero().item()


def reuse_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors for later ones; elsewhere nothing changes.

    By default it gives large blocks back to the system, which clears every page before it hands them out
    again: 8 to 15 % of a train step's time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # bytes, the most it takes
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        use_large_pages(libc)


def use_large_pages(libc: ctypes.CDLL) -> None:
    """Ask Linux for pages of 2 MB where glibc's heap grows next; without memory for it nothing changes.

    Of a train step that goes through hundreds of megabytes, looking pages of 4 KB up takes a tenth.
    """
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # Taken and given back, which makes the heap as large, in addresses; memory is used when it is written.
    blocks = list(filter(None, (libc.malloc(BLOCK) for _ in range(HEAP // BLOCK))))
    if blocks:
        start, end = -(-min(blocks) // LARGE_PAGE) * LARGE_PAGE, max(blocks) + BLOCK
        if end - start < 2 * HEAP:  # in a row
            libc.madvise(start, (end - start) // LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)


def name_arithmetic(device: torch.device) -> list[str]:
    """All that decides, apart from the program, which bits the same sums give on ``device``."""
    named = [torch.__version__, sys.version, str(device), processor_name(), str(torch.get_num_threads())]
    named.append(torch.backends.cpu.get_cpu_capability())
    named += [os.environ.get(name, "") for name in CHOOSING_KERNELS]
    if device.type == "cuda":
        named += [torch.cuda.get_device_name(device), str(torch.backends.cudnn.version())]
    return named
