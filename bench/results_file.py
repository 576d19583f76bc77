"""Results as one JSON file per machine."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from bench.measure import Measured
from bench.together import Together
from der.core.cost import processor_name
from der.core.files import atomic_file

RESULTS = Path("bench/results")
INCLUDED = (
    "An epoch includes random draws, picking and changing the images, moving them to the device, the frozen "
    "extractors, training, the mean loss, and for the engine keeping its state to resume from. Not "
    "included: starting processes, compiling, capturing, the first epoch. Images, their order, schedule and "
    "first weights are the same for all. Peak memory is that since step 1: on CUDA what torch allocated, "
    "elsewhere the resident set with Python and torch, without the plain loop's workers."
)
FIGURES = 4  # significant ones

Row = TypeVar("Row", Measured, Together)


class Machine(NamedTuple):
    """What was measured on."""

    processor: str
    cores: int  # used by torch
    card: str | None

    @property
    def slug(self) -> str:
        """A file name of the card, or of processor and cores."""
        return slugify(self.card or f"{self.processor} {self.cores} cores")


def slugify(name: str) -> str:
    """Lower-case letters, digits and single hyphens; what is in round brackets, as "(R)", is left out."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)", "", name).lower()).strip("-")


def describe_machine(device: torch.device) -> Machine:
    """The machine by its parts; never by its host's name."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return Machine(processor_name(), torch.get_num_threads(), card)


def describe_processor() -> dict[str, Any]:
    """The machine without its card, and the torch that computes there."""
    return describe_machine(torch.device("cpu"))._asdict() | {"torch": torch.__version__}


def round_figures(row: Row) -> Row:
    """Every figure that is not a whole number, to FIGURES significant ones."""
    return type(row)(*map(_round, row))


def write_results(
    directory: Path,
    machine: Machine,
    rows: Sequence[Measured],
    bytes_per_second: float,
    together: Sequence[Together] = (),
) -> Path:
    """Write <slug>.json with sorted keys; returns its path."""
    report = {
        "bandwidth_gb_per_second": _round(bytes_per_second / 1e9),
        "included": INCLUDED,
        "machine": machine._asdict(),
        "measured": [row._asdict() for row in rows],
        "together": [row._asdict() for row in together],
        "torch": torch.__version__,
    }
    path = directory / f"{machine.slug}.json"
    with atomic_file(path) as partial:
        text = json.dumps(report, indent=2, sort_keys=True, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
    return path


def _round(value: Any) -> Any:
    return float(f"{value:.{FIGURES}g}") if isinstance(value, float) else value
