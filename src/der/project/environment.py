"""What the user's environment decides: places and the device, which no result depends on."""

import os
from pathlib import Path


def scratch_root() -> Path:
    """DER_SCRATCH, or a directory in the user's cache; the same for all copies of the repository."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("DER_SCRATCH") or f"{cache}/der/scratch").expanduser().absolute()
