"""The colour of each accuracy, in every plot: safe for the colour-blind, and strong enough on white.

Okabe and Ito's, but for a brown in place of their orange, too pale for lines on white.
"""

COLOURS = {
    "top5": "#CC79A7",
    "new": "#009E73",
    "top1": "#0072B2",
    "nme_top1": "#8C5F31",
    "old": "#D55E00",
}
