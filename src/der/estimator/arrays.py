"""Checks the users' arrays of images and labels, and splits them by class.

# N images, H and W pixels, C channels, K classes
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.settings.sections import LARGEST_SIDE, SMALLEST_SIDE

Label = int | str
LabelKind = Literal["int", "str"]

FORM = "uint8 of shape (n, side, side), or (n, side, side, channels) with 1 or 3 channels"
MOST_NAMED = 10  # labels in a message


class Labelled(NamedTuple):
    """Images with their labels."""

    images: NDArray[np.uint8]  # (N, H, W, C)
    labels: NDArray[Any]  # (N,) of text or whole numbers
    kind: LabelKind

    def of_each(self, classes: Sequence[Label]) -> list[NDArray[np.uint8]]:
        """Return the images of each of ``classes``, in the given order."""
        return [self.images[self.labels == label] for label in classes]


def check_labelled(images: object, labels: object) -> Labelled:
    """Return images and labels as arrays; raises UserError, which says what to give instead."""
    checked = check_images(images)
    kind, values = check_labels(labels)
    if len(checked) != len(values):
        raise UserError(f"labels: {len(values)} for {len(checked)} images; give one for each image")
    if not len(values):
        raise UserError("images: there is none; give at least one image of every class")
    return Labelled(checked, values, kind)


def check_images(images: object) -> NDArray[np.uint8]:
    """Return images as uint8 (N, H, W, C), H = W; raises UserError for anything else."""
    if not isinstance(images, np.ndarray):
        raise UserError(f"images: a {type(images).__name__} is no array; give numpy {FORM}")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        raise UserError(f"images: {images.dtype} of shape {images.shape} does not fit; give {FORM}")
    height, width = images.shape[1:3]
    if height != width or not SMALLEST_SIDE <= height <= LARGEST_SIDE:
        raise UserError(
            f"images: {height} x {width} pixels; give squares of a side of {SMALLEST_SIDE} to {LARGEST_SIDE}"
        )
    return images if images.ndim == 4 else images[..., None]


def check_labels(labels: object) -> tuple[LabelKind, NDArray[Any]]:
    """Return labels (N,) and whether they are integers or text; raises UserError for anything else."""
    # Check a list unconverted: numpy would turn numbers beside text into text.
    values = np.array(labels, dtype=object) if isinstance(labels, list | tuple) else np.asarray(labels)
    if values.ndim != 1:
        raise UserError(f"labels: shape {values.shape} does not fit; give one label for each image")
    plain = values.tolist()
    kinds = {_kind_of(value) for value in plain}
    if len(kinds) > 1 or None in kinds:
        raise UserError(f"labels: {values.dtype} does not fit; give whole numbers alone or text alone")
    if kinds == {"int"}:
        return "int", np.array([int(value) for value in plain], dtype=np.int64)
    return "str", np.array([str(value) for value in plain])


def _kind_of(value: object) -> LabelKind | None:
    if isinstance(value, str):
        return "str"
    return "int" if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def order_new(labels: NDArray[Any], known: Iterable[Label], order: Sequence[Label] | None) -> list[Label]:
    """Return new labels, sorted or in ``order``; raises UserError for ``known`` labels and a wrong order."""
    new: list[Label] = np.unique(labels).tolist()
    if old := [label for label in new if label in set(known)]:
        raise UserError(
            f"labels: {name_labels(old)} learned at an earlier step; give a step images of new classes only"
        )
    if order is None:
        return new
    listed = list(order)
    if len(listed) != len(new) or set(listed) != set(new):
        raise UserError(f"order: {name_labels(listed)}; list every new class once, {name_labels(new)}")
    own = {label: label for label in new}  # 1.0 equals the label 1, but is written differently
    return [own[label] for label in listed]


def split_known(labelled: Labelled, classes: Sequence[Label]) -> list[NDArray[np.uint8]]:
    """Split images by known class; raises UserError for other classes, and for a class without images."""
    present = check_known(labelled, classes)
    if missing := [label for label in classes if label not in present]:
        raise UserError(f"labels: {name_labels(missing)} without an image; give some of every class learned")
    return labelled.of_each(classes)


def check_known(labelled: Labelled, classes: Sequence[Label]) -> set[Label]:
    """Return the labels that are present; raises UserError if one is not among ``classes``."""
    present = set(np.unique(labelled.labels).tolist())
    if unknown := present - set(classes):
        raise UserError(f"labels: {name_labels(unknown)} not learned; leave their images out")
    return present


def name_labels(labels: Iterable[Label]) -> str:
    """Write labels as messages name them."""
    names = [repr(label) for label in labels]
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"
