"""What the phases of a step minimise.

# B batch, C classes seen, D features of the new extractor, P features of the frozen ones
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.train.masks import ChannelMasks


class Loss(NamedTuple):
    """Means over a batch, as scalars on the device."""

    total: Tensor  # what is minimised
    auxiliary: Tensor  # unweighted
    correct: Tensor  # fraction of images whose largest logit is their class


def auxiliary_labels(labels_B: Tensor, old_classes: int) -> Tensor:
    """Old classes share label 0; the step's new class of index j is label j + 1."""
    return (labels_B - old_classes + 1).clamp(min=0)


def cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """The mean over the batch; 0 for none of its images, as a rank of several may have."""
    return F.cross_entropy(logits_BC, labels_B, reduction="mean" if len(labels_B) else "sum")


def share_correct(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """The fraction of images whose largest logit is their class; 0 for none."""
    hits_B = (logits_BC.argmax(1) == labels_B).float()
    return hits_B.mean() if len(hits_B) else hits_B.sum()


class RepresentationObjective(nn.Module):
    """L = CE(H_t(u), y) + lambda_a CE(H^a_t(F_t(x)), y_aux) [+ lambda_s L_S] (DER, sections 3.2 and 3.3).

    Learns the new extractor, the whole classifier and the auxiliary classifier; the frozen extractors
    enter as the features they gave. The new extractor computes in the dtype of the images; the classifiers
    and their losses stay in float32.
    """

    def __init__(
        self,
        extractor: nn.Module,
        head: nn.Linear,
        auxiliary: nn.Linear,
        auxiliary_weight: float,
        masks: ChannelMasks | None,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.masks = masks
        self.head = head
        self.auxiliary = auxiliary
        self.auxiliary_weight = auxiliary_weight
        self.old_classes = head.out_features - (auxiliary.out_features - 1)

    def forward(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor, position: Tensor) -> Loss:
        """Loss of normalised images, their frozen features and their labels over all classes seen.

        ``position`` is that of the batch in its epoch, from 0 to 1; masks sharpen with it.
        """
        sparsity = None if self.masks is None else self.masks.sharpen(position)
        features_BD = self.extractor(images_BCHW)
        logits_BC = self.head(torch.cat([frozen_BP, features_BD], dim=1))
        total = cross_entropy(logits_BC, labels_B)
        auxiliary = torch.zeros_like(total)
        if self.auxiliary_weight:
            auxiliary_B = auxiliary_labels(labels_B, self.old_classes)
            auxiliary = cross_entropy(self.auxiliary(features_BD), auxiliary_B)
            total = total + self.auxiliary_weight * auxiliary
        if self.masks is not None and sparsity is not None:
            total = total + self.masks.settings.sparsity_weight * sparsity
        correct = share_correct(logits_BC, labels_B)
        return Loss(total, auxiliary.detach(), correct)


class ClassifierObjective(nn.Module):
    """CE(H_t(u) / temperature, y) with all extractors frozen (DER, section 3.4)."""

    def __init__(self, head: nn.Linear, temperature: float) -> None:
        super().__init__()
        self.head = head
        self.temperature = temperature

    def forward(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor, position: Tensor) -> Loss:
        """Loss of super-features (B, P) and their labels over all classes seen; images are not looked at."""
        logits_BC = self.head(frozen_BP) / self.temperature
        total = cross_entropy(logits_BC, labels_B)
        correct = share_correct(logits_BC, labels_B)
        return Loss(total, torch.zeros_like(total), correct)
