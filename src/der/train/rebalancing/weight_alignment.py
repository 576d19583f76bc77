"""Weight alignment: the new classes' weights brought to the norm of the old."""

import torch
from torch import nn


@torch.no_grad()
def align_weights(head: nn.Linear, old_classes: int) -> float:
    """Weight alignment (Zhao et al. 2020, "Maintaining Discrimination and Fairness", section 4).

    Multiplies the new classes' rows of the weight by gamma, the mean norm of old rows over that of new
    rows; the bias stays. Returns gamma. Needs old classes and new ones.
    """
    norms = head.weight.norm(dim=1)
    gamma = norms[:old_classes].mean() / norms[old_classes:].mean()
    head.weight[old_classes:] *= gamma
    return float(gamma)
