"""How long a stage took."""

from typing import NamedTuple


class StageTime(NamedTuple):
    """What one stage took to leave its outputs, on which machine."""

    seconds: float  # wall time, of all its parts if it was interrupted and went on
    runs: int  # how often it was started until it was done
    epochs: int | None  # of training; None for other stages
    device: str  # name of the processor or GPU
    torch: str | None  # version; None for a stage that did without
    computed: bool  # by the newest of the runs that made the results; else kept from an earlier one
