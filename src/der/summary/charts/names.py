"""Class names where there is little room."""

import unicodedata


def one_line(name: str) -> str:
    """``name`` with single spaces, and each accent one with its letter, beside which it would be drawn."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def shortened(text: str, longest: int) -> str:
    """``text``, or its first and last letters if it has more than ``longest``."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[head + 1 - longest :]}"
