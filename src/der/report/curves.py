"""A class's accuracy over steps as a small drawing.

Made by hand: a hundred of matplotlib's would take seconds.
"""

from collections.abc import Sequence

from markupsafe import Markup

from der.summary.charts.colours import ACCURACIES
from der.summary.charts.limits import MOST_MARKED
from der.summary.uncertainty import wilson

WIDTH, HEIGHT = 280, 110  # pixels
LEFT, RIGHT, TOP, BOTTOM = 34, 14, 8, 22  # pixels around the plot
LEVELS = (0, 50, 100)  # percent, that have a line
COLOUR = ACCURACIES["top1"]


def class_curve(accuracies: Sequence[float], images: int, first: int, last: int) -> Markup:
    """Accuracies in percent after steps ``first``, ... of a run of ``last`` steps, with their 95 % band."""
    points = [(_across(first + index, last), accuracy) for index, accuracy in enumerate(accuracies)]
    bands = [wilson(accuracy, images) for accuracy in accuracies]
    upper = [f"{x:.0f},{_up(band.high)}" for (x, _), band in zip(points, bands, strict=True)]
    lower = [f"{x:.0f},{_up(band.low)}" for (x, _), band in zip(points, bands, strict=True)]
    line = " ".join(f"{x:.0f},{_up(accuracy)}" for x, accuracy in points)
    dot = 2.5 if last <= MOST_MARKED else 1.5
    parts = [
        *(f'<path d="M{LEFT} {_up(level)}H{WIDTH - RIGHT}" style="stroke:var(--line)"/>' for level in LEVELS),
        *(_text(LEFT - 6, float(_up(level)) + 4, "end", f"{level}") for level in LEVELS),
        *(_text(_across(step, last), HEIGHT - 6, "middle", f"step {step}") for step in sorted({first, last})),
        f'<polygon points="{" ".join([*upper, *reversed(lower)])}" style="fill:{COLOUR};fill-opacity:.18"/>',
        f'<polyline points="{line}" style="fill:none;stroke:{COLOUR};stroke-width:2"/>',
        *(
            f'<circle cx="{x:.0f}" cy="{_up(accuracy)}" r="{dot}" style="fill:{COLOUR}"/>'
            for x, accuracy in points
        ),
    ]
    shown = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
    label = f"Top-1 in percent from step {first} on: {shown}"
    head = f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    return Markup(head + "".join(parts) + "</svg>")


def _across(step: int, last: int) -> float:
    share = (step - 1) / (last - 1) if last > 1 else 0.5
    return LEFT + 14 + share * (WIDTH - LEFT - RIGHT - 28)


def _up(percent: float) -> str:
    return f"{TOP + (100 - percent) / 100 * (HEIGHT - TOP - BOTTOM):.1f}".removesuffix(".0")


def _text(x: float, y: float, anchor: str, text: str) -> str:
    style = f"text-anchor:{anchor};fill:var(--muted);font-size:11px"
    return f'<text x="{x:.0f}" y="{y:.0f}" style="{style}">{text}</text>'
