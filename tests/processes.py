"""Processes that a test has started, however indirectly."""

from contextlib import suppress

import psutil


def with_environment(name: str, value: str) -> list[psutil.Process]:
    """Those that have this in their environment, and have not ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
