"""What a process has in memory of a file."""

from pathlib import Path

import numpy as np


def resident(array: np.memmap) -> int:
    """Bytes of the file that this process has in memory, as Linux tells."""
    name, inside = str(array.filename), False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0
