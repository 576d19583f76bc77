"""Lines of a terminal that show how far something is, never wider than it."""

import os
import sys
from typing import NamedTuple

WIDEST = 80  # columns
BAR = (10, 30)  # columns, the fewest and the most of a bar


class BarLine(NamedTuple):
    """One line: what it is of, the part that is done, and texts, the most important first."""

    title: str
    share: float  # 0 to 1
    texts: list[str]


def fit_line(line: BarLine, columns: int, marks: str = "█░") -> str:
    """The line in at most ``columns``: a bar and as many texts as fit beside it, or else texts alone."""
    texts = [line.title, *line.texts]
    for count in range(len(texts), 1, -1):
        text = "  ".join(texts[1:count])
        room = min(columns - len(line.title) - len(text) - 4, BAR[1])
        if room >= BAR[0]:
            done = round(max(0.0, min(line.share, 1.0)) * room)
            return f"{line.title}  {marks[0] * done}{marks[1] * (room - done)}  {text}"
    while len(texts) > 1 and len("  ".join(texts)) > columns:
        texts.pop()
    return "  ".join(texts)[: max(columns, 0)]


def show_time(seconds: float | None) -> str:
    """As 0:09, 12:05 or 3:07:00; "?" for None."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Terminal:
    """Lines on standard error that are drawn again and again in place."""

    def __init__(self) -> None:
        self.drawn = 0  # lines below the cursor's, its own included

    @staticmethod
    def is_there() -> bool:
        """Whether standard error is a terminal on which the cursor can move."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def draw(self, lines: list[BarLine]) -> None:
        """Draw the lines in place of those drawn before; the cursor stays at the first."""
        fits = min(self._columns(), WIDEST) - 1  # in the last column some terminals wrap
        marks = "█░" if (sys.stderr.encoding or "").lower().startswith("utf") else "#-"
        self._write([fit_line(line, fits, marks) for line in lines])
        self.drawn = len(lines)

    @staticmethod
    def _columns() -> int:
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or WIDEST
        except (OSError, ValueError):
            return WIDEST

    def clear(self) -> None:
        """Leave nothing of what was drawn."""
        if self.drawn:
            self._write([""] * self.drawn)
            self.drawn = 0

    def _write(self, texts: list[str]) -> None:
        body = "\n".join(f"\r\x1b[K{text}" for text in texts)
        up = f"\x1b[{len(texts) - 1}A" if len(texts) > 1 else ""
        sys.stderr.write(f"{body}{up}\r")
        sys.stderr.flush()
