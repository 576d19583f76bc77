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


def show_seconds(seconds: float) -> str:
    """A length of time in the two largest units that it fills: "1 h 23 min", "2 min 5 s", "0.4 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
