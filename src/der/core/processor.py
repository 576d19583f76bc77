"""What the processor is called."""

import platform
import re
from pathlib import Path


def processor_name() -> str:
    """The processor's model, as far as the system tells."""
    details = Path("/proc/cpuinfo")  # Linux
    if details.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", details.read_text(encoding="utf-8"), re.MULTILINE)
        if named:
            return named[1]
    return platform.processor() or platform.machine()
