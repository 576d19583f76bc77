"""The colour of each accuracy, in every plot: Okabe and Ito's, safe for the colour-blind."""

COLOURS = {
    "top5": "#56B4E9",
    "new": "#009E73",
    "top1": "#0072B2",
    "nme_top1": "#E69F00",
    "old": "#D55E00",
}
