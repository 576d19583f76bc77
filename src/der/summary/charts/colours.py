"""Every colour of the figures, safe for the colour-blind; those of lines can be seen on white and on black.

The accuracies' are Okabe and Ito's, but for a brown in place of their orange, too pale for lines on white.
"""

from der.summary.charts.blending import blend

ACCURACIES = {
    "top1": "#0072B2",
    "top5": "#CC79A7",
    "old": "#D55E00",
    "new": "#009E73",
    "nme_top1": "#8C5F31",
}
PUBLISHED = ("#7F8A94", "#8F6FE0", "#D6478C", "#B07D2B")
STEPS = ("#0072B2", "#A0508C", "#D55E00")  # from the first step to the last
VIRIDIS = ("#26828E", "#1F9E89", "#35B779", "#6ECE58", "#B5DE2B", "#FDE725")  # where black can be read on it
BLUES_ON_WHITE, TEXT_ON_WHITE = ("#FFFFFF", "#3C8CD2"), "#1A1D21"
BLUES_ON_BLACK, TEXT_ON_BLACK = ("#1A1D21", "#0064AF"), "#E8EAED"


def step_colours(steps: int) -> tuple[str, ...]:
    """A colour for each step, in order."""
    return tuple(blend(STEPS, index / max(steps - 1, 1)) for index in range(steps))
