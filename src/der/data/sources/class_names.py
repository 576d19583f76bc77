"""What a class may be called: its name is a file's."""

import unicodedata

from der.core.errors import UserError

LONGEST_NAME = 240  # bytes; file systems allow 255, suffixes included


def check_name(name: str) -> None:
    """Raise UserError for the name of a class that no file, hidden ones aside, has on every system."""
    if "/" in name or "\\" in name or any(unicodedata.category(one) in ("Cc", "Cs") for one in name):
        raise UserError(
            "a class name cannot have control characters, slashes, backslashes or invalid UTF-8; rename it"
        )
    if not name or name.startswith("."):
        raise UserError("a class name cannot be empty or begin with a dot; rename it")
    if len(name.encode()) > LONGEST_NAME:
        raise UserError(f"a class name of over {LONGEST_NAME} bytes; shorten it")
