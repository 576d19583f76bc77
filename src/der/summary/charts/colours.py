"""Every colour of the figures, safe for the colour-blind; those of lines can be seen on white and on black.

The accuracies' are Okabe and Ito's, but for a brown in place of their orange, too pale for lines on white.
"""

from der.summary.charts.blending import blend, shade
from der.summary.charts.description import Shade

INK, MUTED, GRID, PAGE = (
    "#1A1D21",
    "#566069",
    "#D5DAE0",
    "#FFFFFF",
)  # of a light page; the page has a dark one
ACCURACIES = {
    "top1": "#0072B2",
    "top5": "#CC79A7",
    "old": "#D55E00",
    "new": "#009E73",
    "nme_top1": "#8C5F31",
}
PUBLISHED = ("#7F8A94", "#8F6FE0", "#D6478C", "#B07D2B")
RUNS = ("#0072B2", "#D55E00", "#009E73", "#8F6FE0", "#8C5F31")  # that are compared
JOINT = "#A0508C"
LOSS, AUXILIARY, TRAINING, RATE = "#0072B2", "#D55E00", "#009E73", "#7F8A94"
PHASES = ("#0072B2", "#D6478C")  # learning the representation, and what follows
KINDS = {"training": "#0072B2", "memory": "#B07D2B", "evaluation": "#009E73", "other": "#7F8A94"}

GRADES = 16  # of a scale of shades


def grades(light: tuple[str, ...], dark: tuple[str, ...], count: int = GRADES) -> tuple[Shade, ...]:
    """A scale of ``count`` shades through the colours."""
    shares = [index / (count - 1) for index in range(count)]
    return tuple(shade(blend(light, share), blend(dark, share)) for share in shares)


# Of confusion: an error can be told from an empty cell, which is the page, at a contrast of 3 : 1 or more.
WRONG = grades(("#C4500A", "#8E1B0E", "#3F0A12"), ("#C95A14", "#F08A45", "#FFE0C8"))
RIGHT = grades(("#DCE8F4", "#86AFD9"), ("#1D2F42", "#2F6299"))
# Of what was lost since a class was new, and gained.
LOST = grades(("#EDF0F3", "#F2B48F", "#C4500A", "#5E0F10"), ("#272D34", "#7A3F1A", "#E0732A", "#FFD9BC"))
GAINED = grades(("#EDF0F3", "#8FB9E3", "#1F5F9E", "#0A2A4D"), ("#272D34", "#22507F", "#5FA3E6", "#D2E7FF"))
