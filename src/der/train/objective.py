"""What one step of representation learning minimises.

# B batch, C classes seen, D features of the new extractor, P features of the frozen ones
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.train.losses import auxiliary_labels


class Loss(NamedTuple):
    """Means over a batch, as scalars on the device."""

    total: Tensor  # what is minimised
    auxiliary: Tensor  # unweighted
    correct: Tensor  # fraction of images whose largest logit is their class


class RepresentationObjective(nn.Module):
    """L = CE(H_t(u), y) + lambda_a CE(H^a_t(F_t(x)), y_aux) (DER, section 3.2).

    Learns the new extractor, the whole classifier and the auxiliary classifier; the frozen extractors
    enter as the features they gave. ``autocast`` covers the extractor; the classifiers and their losses
    stay in float32.
    """

    def __init__(
        self,
        extractor: nn.Module,
        head: nn.Linear,
        auxiliary: nn.Linear,
        auxiliary_weight: float,
        autocast: torch.autocast,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head
        self.auxiliary = auxiliary
        self.auxiliary_weight = auxiliary_weight
        self.autocast = autocast
        self.old_classes = head.out_features - (auxiliary.out_features - 1)

    def forward(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor) -> Loss:
        """Loss of normalised images, their frozen features and their labels over all classes seen."""
        with self.autocast:
            features_BD = self.extractor(images_BCHW)
        logits_BC = self.head(torch.cat([frozen_BP, features_BD], dim=1))
        total = F.cross_entropy(logits_BC, labels_B)
        auxiliary = torch.zeros_like(total)
        if self.auxiliary_weight:
            auxiliary_B = auxiliary_labels(labels_B, self.old_classes)
            auxiliary = F.cross_entropy(self.auxiliary(features_BD), auxiliary_B)
            total = total + self.auxiliary_weight * auxiliary
        correct = (logits_BC.argmax(1) == labels_B).float().mean()
        return Loss(total, auxiliary.detach(), correct)
