"""Files as the commit that is checked out has them."""

import subprocess
from pathlib import Path


def read_committed(path: Path) -> bytes:
    """The bytes of a file; empty if the commit has none, or where there is no commit or no git."""
    line = ["git", "show", f"HEAD:./{path.as_posix()}"]
    try:
        return subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL).stdout
    except OSError:
        return b""
