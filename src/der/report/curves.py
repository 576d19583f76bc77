"""A class's accuracy over steps as a small drawing.

Made by hand: a hundred of matplotlib's would take seconds.
"""

from collections.abc import Sequence

from markupsafe import Markup

from der.summary.charts.colours import ACCURACIES
from der.summary.charts.limits import MOST_MARKED
from der.summary.uncertainty import Interval, wilson

WIDTH, HEIGHT = 280, 110  # pixels
LEFT, RIGHT, TOP, BOTTOM = 34, 14, 8, 22  # pixels around the plot
APART = 48  # pixels from the middle of a step's name to that of another, at least
MOST_POINTS = 50  # of a curve
CAP = 4  # pixels, half of an error bar's ends
LEVELS = (0, 50, 100)  # percent, that have a line
COLOUR = ACCURACIES["top1"]


def class_curve(accuracies: Sequence[float], images: int, first: int, last: int) -> Markup:
    """Accuracies in percent after steps ``first``, ... of a run of ``last`` steps, with their 95 % band.

    Of many steps every second or third is shown, the last among them.
    """
    every = -(-len(accuracies) // MOST_POINTS)
    shown = list(range(len(accuracies) - 1, -1, -every))[::-1]
    points = [(_across(first + index, last), accuracies[index]) for index in shown]
    bands = [wilson(accuracy, images) for _, accuracy in points]
    upper = [f"{x:.0f},{_up(band.high)}" for (x, _), band in zip(points, bands, strict=True)]
    lower = [f"{x:.0f},{_up(band.low)}" for (x, _), band in zip(points, bands, strict=True)]
    line = " ".join(f"{x:.0f},{_up(accuracy)}" for x, accuracy in points)
    parts = [
        *(f'<path class="level" d="M{LEFT} {_up(level)}H{WIDTH - RIGHT}"/>' for level in LEVELS),
        *(_text(LEFT - 6, float(_up(level)) + 4, "end", f"{level}") for level in LEVELS),
        *(_text(_across(step, last), HEIGHT - 6, "middle", f"step {step}") for step in _named(first, last)),
        _band(upper, lower) if len(points) > 1 else _error_bar(points[0][0], bands[0]),
        f'<polyline points="{line}"/>',
        *(
            f'<circle cx="{x:.0f}" cy="{_up(accuracy)}" r="2.5"/>'
            for x, accuracy in points
            if len(points) <= MOST_MARKED
        ),
    ]
    said = "" if every == 1 else f", one step of {every}"
    label = f"Top-1 in percent from step {first} on{said}: {', '.join(f'{one:.1f}' for _, one in points)}"
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" color="{COLOUR}"'
    head = f'<svg class="curve" {box} role="img" aria-label="{label}">'
    return Markup(head + "".join(parts) + "</svg>")


def _named(first: int, last: int) -> list[int]:
    """The first and the last step, if there is room for both."""
    return [first, last] if _across(last, last) - _across(first, last) >= APART else [first]


def _band(upper: list[str], lower: list[str]) -> str:
    return f'<polygon points="{" ".join([*upper, *reversed(lower)])}"/>'


def _error_bar(x: float, band: Interval) -> str:
    low, high, cap = _up(band.low), _up(band.high), f"M{x - CAP:.0f} {{}}h{2 * CAP}"
    path = f"M{x:.0f} {low}V{high}{cap.format(low)}{cap.format(high)}"
    return f'<path d="{path}"/>'


def _across(step: int, last: int) -> float:
    share = (step - 1) / (last - 1) if last > 1 else 0.5
    return LEFT + 14 + share * (WIDTH - LEFT - RIGHT - 28)


def _up(percent: float) -> str:
    return f"{TOP + (100 - percent) / 100 * (HEIGHT - TOP - BOTTOM):.1f}".removesuffix(".0")


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'
