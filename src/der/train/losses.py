"""Labels of the auxiliary classifier (DER, section 3.2)."""

from torch import Tensor


def auxiliary_labels(labels_B: Tensor, old_classes: int) -> Tensor:
    """Old classes share label 0; new class number j, counted from 0 within the step, is label j + 1."""
    return (labels_B - old_classes + 1).clamp(min=0)
