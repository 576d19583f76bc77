"""The programs, what they are given to learn, and what they tell meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bench.pycil.plans import Plan
from der.settings.sections import Precision


@dataclass(frozen=True)
class Contender:
    """A program with its settings."""

    name: str
    program: Literal["pycil", "ours"]
    precision: Precision = "float32"  # of our extractors; PyCIL has float32 alone
    workers: int = 0  # processes that read images for PyCIL; 0: none but the program's own
    heads: Literal["pycil", "ours"] | None = None  # whose first weights classifiers have; None: the program's


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("pycil", "pycil"),
        Contender("pycil-2-workers", "pycil", workers=2),
        Contender("pycil-8-workers", "pycil", workers=8),
        Contender("pycil-our-heads", "pycil", heads="ours"),
        Contender("ours", "ours"),
        Contender("ours-bfloat16", "ours", precision="bfloat16"),
        Contender("ours-pycil-heads", "ours", heads="pycil"),
    )
}
DEFAULTS = {
    "speed": ("pycil-8-workers", "pycil-2-workers", "ours", "ours-bfloat16"),
    "growth": ("pycil-2-workers", "ours", "ours-bfloat16"),
    "accuracy": ("pycil-2-workers", "ours"),
    "short": ("pycil", "ours"),
}


@dataclass(frozen=True)
class Job:
    """One run, which any contender can do."""

    plan: Plan
    directory: Path  # of the images, as ``write_images`` leaves them
    seed: int
    device: str


class Epoch(NamedTuple):
    """An epoch has ended."""

    step: int  # counted from 1
    epoch: int  # counted from 0
    seconds: float
    images: int


class Step(NamedTuple):
    """A step has ended, with its memory and its evaluation."""

    step: int  # counted from 1
    top1: float  # percent of the test images of all classes seen
    gamma: float | None  # factor of weight alignment; None at step 1


Event = Epoch | Step
Tell = Callable[[Event], None]  # may take its time: nothing runs meanwhile
