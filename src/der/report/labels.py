"""Class names and other text inside of plotly's figures."""

import html
import textwrap
import unicodedata
from collections import Counter

LEGEND_LINE = 36  # characters
LONGEST = 14  # characters of a class name on an axis


def figure_text(text: str) -> str:
    """``text`` as plotly shows it unchanged: it takes some tags and entities in labels for mark-up."""
    return html.escape(text, quote=False)


def legend_text(text: str) -> str:
    """``text`` for a legend, in lines that a narrow screen can show."""
    return "<br>".join(figure_text(line) for line in textwrap.wrap(text, LEGEND_LINE))


def axis_labels(names: list[str]) -> list[str]:
    """Class names for an axis: escaped, shortened in the middle, and all different."""
    short = [_shortened(" ".join(unicodedata.normalize("NFC", name).split())) for name in names]
    counts = Counter(short)
    return [
        figure_text(text if counts[text] == 1 and text else f"{text} ({label})")
        for label, text in enumerate(short)
    ]


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    head = LONGEST // 2
    return f"{text[:head]}…{text[head + 1 - LONGEST :]}"
