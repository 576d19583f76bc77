"""Files as a commit has them."""

import subprocess
from pathlib import Path


def read_committed(path: Path, revision: str = "HEAD") -> bytes:
    """The bytes of a file; empty if the commit has none, or where there is no commit or no git."""
    line = ["git", "show", f"{revision}:./{path.as_posix()}"]
    try:
        return subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL).stdout
    except OSError:
        return b""
