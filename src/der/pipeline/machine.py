"""What the stages run on, by its name."""

import sys
from typing import TypedDict

from der.core.processor import processor_name
from der.pipeline.environment import find_device


class Machine(TypedDict):
    """What stages ran on."""

    device: str  # name of the processor or GPU
    torch: str | None  # version; None for a stage that did without


def describe_machine() -> Machine:
    """The processor or GPU that stages use here, and torch's version."""
    # Only now: torch costs seconds.
    import torch

    device = find_device()
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor_name()} ({device.type})"
    )
    return {"device": name, "torch": str(torch.__version__)}  # a str of a class of its own


def describe_machine_in_use() -> Machine:
    """As describe_machine if this process works with torch; else the processor alone."""
    return describe_machine() if "torch" in sys.modules else {"device": processor_name(), "torch": None}
