"""Every contender runs in a process of its own, so that its settings and its memory are its own."""

import ctypes
import multiprocessing
import resource
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from bench.cases import Case, prepare
from bench.engine_loop import EngineLoop, Layers, whole_training
from bench.engine_predicting import EnginePrediction
from der.core.device import set_up_device
from der.pipeline.environment import computing
from der.settings.sections import Precision
from der.train.engine import worth_compiling

if TYPE_CHECKING:
    from bench.plain import PlainLoop
    from bench.plain_predicting import PlainPrediction

PLAIN = "plain"
# After an engine's name: without the kernels that it compiles for a processor, by torch.compile instead, or
# without kernels and without large pages.
UNCOMPILED, COMPILED, BARE = " uncompiled", " torch.compile", " bare"
OTHER_LAYERS: dict[str, Layers] = {UNCOMPILED: "torch", COMPILED: "inductor", BARE: "torch"}
PR_SET_THP_DISABLE = 41  # of Linux's prctl.h
ENGINES = ("engine float32", "engine bfloat16")


def list_contenders(case: Case, device: torch.device) -> list[str]:
    """Who takes part: on a processor, engines that train with kernels of their own also without them."""
    usual = [PLAIN, *ENGINES]
    if case.task != "train" or device.type != "cpu":
        return usual
    images, *_ = case.load()
    compiled = [
        name
        for name in ENGINES
        if worth_compiling(whole_training(case), len(images), images.shape[1], precision_of(name))
    ]
    others = OTHER_LAYERS if case.alternatives else [UNCOMPILED]
    return [*usual, *(name + other for other in others for name in compiled)]


def layers_of(name: str) -> Layers:
    """What the layers of the contender ``name``, an engine, are trained by."""
    return next((layers for ending, layers in OTHER_LAYERS.items() if name.endswith(ending)), "kernels")


def precision_of(name: str) -> Precision:
    """What the contender ``name`` computes in."""
    return "bfloat16" if "bfloat16" in name else "float32"


def width_of(name: str) -> int:
    """Bytes of an activation of the contender ``name``."""
    return 2 if precision_of(name) == "bfloat16" else 4


class Footprint(NamedTuple):
    """What a contender shows after a step's epochs."""

    peak_bytes: int  # allocated on a CUDA card; elsewhere resident, Python and torch included
    step_ms: float | None  # of the captured train step


class Session:
    """A contender, in the process that calls this: one of ``list_contenders`` by ``name``."""

    def __init__(self, name: str, case: Case, device: torch.device) -> None:
        self.name = name
        self.case = case
        self.device = device
        self.epoch = 0
        self.loop: PlainLoop | EngineLoop | PlainPrediction | EnginePrediction | None = None
        if name.endswith(BARE) and sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        if name != PLAIN:
            set_up_device(str(device))  # as the pipeline does; the plain loop keeps the defaults

    def prepare(self, frozen: int) -> None:
        """Be ready for the step with ``frozen`` frozen extractors."""
        if isinstance(self.loop, EngineLoop):
            self.loop.release()
        start = prepare(self.case, frozen)
        precision = precision_of(self.name)
        if self.name != PLAIN and self.case.task == "train":
            self.loop = EngineLoop(self.case, start, self.device, precision, layers_of(self.name))
        elif self.name != PLAIN:
            self.loop = EnginePrediction(self.case, start, self.device, precision)
        else:  # imported here: torchvision's memory is the plain loop's alone
            from bench.plain import PlainLoop
            from bench.plain_predicting import PlainPrediction

            build_plain = PlainLoop if self.case.task == "train" else PlainPrediction
            self.loop = build_plain(self.case, start, self.device)
        self.epoch = 0

    def warm_up(self) -> float:
        """The first epoch; returns the mean loss."""
        assert self.loop is not None
        return self.loop.run_epoch(self.epoch)

    def time_epoch(self) -> float:
        """Seconds of the next epoch."""
        assert self.loop is not None
        self.epoch += 1
        begin = time.perf_counter()
        self.loop.run_epoch(self.epoch)  # ends with a sync
        return time.perf_counter() - begin

    def measure(self) -> Footprint:
        """What the step took; the peak includes those of the steps before."""
        step_ms = self.loop.time_step() if isinstance(self.loop, EngineLoop) else None
        return Footprint(_peak_bytes(self.device), step_ms)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        # Not getrusage: there a new process starts with the peak of the one that started it.
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


class Contender:
    """A Session in a process of its own; a context manager."""

    def __init__(self, name: str, case: Case, device: torch.device) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, _open, (name, case, device))
        self.pool.submit(int)  # starts the process now, beside those of other contenders

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def warm_up(self, frozen: int) -> float:
        """Session.prepare, and Session.warm_up."""
        return self.pool.submit(_warm_up, frozen).result()

    def time_epoch(self) -> float:
        """Session.time_epoch."""
        return self.pool.submit(_time_epoch).result()

    def start_epochs(self, epochs: int) -> "Future[None]":
        """Train so many epochs of step 1, in turns on the cores with others, without waiting for it."""
        return self.pool.submit(_train, epochs)

    def measure(self) -> Footprint:
        """Session.measure."""
        return self.pool.submit(_measure).result()


_session: Session  # of a contender's process


def _open(name: str, case: Case, device: torch.device) -> None:
    global _session
    _session = Session(name, case, device)


def _warm_up(frozen: int) -> float:
    _session.prepare(frozen)
    return _session.warm_up()


def _time_epoch() -> float:
    return _session.time_epoch()


def _train(epochs: int) -> None:
    _session.prepare(0)  # as stages do, not in a turn
    with computing("bench", _session.device):
        _session.warm_up()
        for _ in range(epochs - 1):
            _session.time_epoch()


def _measure() -> Footprint:
    return _session.measure()
