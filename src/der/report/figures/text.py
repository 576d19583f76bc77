"""Names and other text inside of plotly's figures."""

import html
import textwrap
from collections import Counter
from collections.abc import Sequence

from der.summary.charts.names import one_line, shortened

LINE = 36  # characters of a legend or a label, which narrow screens can show
LONGEST = 14  # characters of a name on an axis


def figure_text(text: str) -> str:
    """``text`` as plotly shows it unchanged: it takes some tags and entities in labels for mark-up."""
    return html.escape(text, quote=False)


def wrapped_text(text: str) -> str:
    """``text`` in lines that a narrow screen can show."""
    return "<br>".join(figure_text(line) for line in textwrap.wrap(text, LINE))


def axis_labels(names: Sequence[str]) -> list[str]:
    """Names for an axis: escaped, shortened in the middle, and all different."""
    short = [shortened(one_line(name), LONGEST) for name in names]
    counts = Counter(short)
    return [
        figure_text(text if counts[text] == 1 and text else f"{text} ({label})")
        for label, text in enumerate(short)
    ]
