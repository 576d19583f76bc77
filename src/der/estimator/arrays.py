"""Reads what users give as images and labels, whatever its form, and splits it by class.

# N images, H and W pixels, C channels, K classes
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from der.core.errors import UserError
from der.data.sources import pictures
from der.model.architecture import COLOURS

Label = int | str
LabelKind = Literal["int", "str"]

FORM = "uint8 or floats in [0, 1] of shape (n, side, side) or (n, side, side, channels), 1 or 3 channels"
CHANNELS = (1, COLOURS)
MOST_NAMED = 10  # labels in a message


class DataSet(Protocol):
    """Any object whose entries are images, or pairs of an image and its label; a list among them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Images = NDArray[Any] | torch.Tensor | Image.Image | str | Path | DataSet
Rows = NDArray[np.uint8] | DataSet  # (N, H, W, C); or entries of other forms


class Labelled(NamedTuple):
    images: NDArray[np.uint8]  # (N, H, W, C)
    labels: NDArray[Any]  # (N,) of text or whole numbers
    kind: LabelKind

    def of_each(self, classes: Sequence[Label]) -> list[NDArray[np.uint8]]:
        return [self.images[self.labels == label] for label in classes]


def take(images: object, channels: int | None = None) -> Rows:
    """Return images of any form as one array (N, H, W, C), or as a data set; raises UserError for others.

    ``channels`` are those of the network's images, if there is one. They tell one colour image (3, H, W)
    from three grey ones.
    """
    if hasattr(images, "to_numpy"):  # a column of pandas
        images = images.to_numpy()
    if isinstance(images, torch.Tensor):
        images = _to_numpy(images)
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":
        images = images.tolist()
    if isinstance(images, np.ndarray):
        return _to_pixels(_with_channels(images, channels))
    if isinstance(images, Image.Image | str | Path):
        return [images]
    if isinstance(images, dict) or not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
        fault = f"images: a {type(images).__name__} does not fit"
        raise UserError(f"{fault}; give {FORM}, pictures, their files, or pairs of an image and its label")
    if not len(images):
        raise UserError("images: there is none; give at least one")
    return images


def measure(rows: Rows) -> tuple[set[tuple[int, int]], int]:
    """Return all sizes (H, W) of the images, and their channels: 1 if all are grey, else 3."""
    if isinstance(rows, np.ndarray):
        return {(rows.shape[1], rows.shape[2])}, rows.shape[3]
    sizes, channels = set(), 1
    for image, _ in _entries(rows):
        if isinstance(image, np.ndarray):
            sizes.add((image.shape[0], image.shape[1]))
            channels = max(channels, image.shape[2])
            continue
        try:
            with Image.open(image) if isinstance(image, Path) else nullcontext(image) as picture:
                sizes.add((picture.height, picture.width))
                channels = channels if Image.getmodebase(picture.mode) == "L" else COLOURS
        except Exception:  # ``scale`` says what is wrong
            continue
    return sizes, channels


def scale(rows: Rows, side: int, channels: int) -> tuple[NDArray[np.uint8], list[Any]]:
    """Convert images as the pipeline does, to uint8 (N, side, side, channels); return a data set's labels.

    Raises UserError naming what is no image, and files that cannot be read.
    """
    if isinstance(rows, np.ndarray) and rows.shape[1:] == (side, side, channels):
        return rows, []
    images = np.empty((len(rows), side, side, channels), np.uint8)
    labels, files = list[Any](), list[tuple[int, pictures.Picture]]()
    for place, (image, label) in enumerate(_entries(rows)):
        labels += label
        if isinstance(image, Path):
            files.append((place, pictures.Picture(str(image), image)))
        elif isinstance(image, Image.Image):
            images[place] = pictures.to_pixels(ImageOps.exif_transpose(image), side, channels)
        else:
            plain = image[..., 0] if image.shape[2] == 1 else image
            images[place] = pictures.to_pixels(Image.fromarray(plain), side, channels)
    faults, decoded = [], pictures.decode((one for _, one in files), side, channels)
    for (place, _), found in zip(files, decoded, strict=True):
        if isinstance(found, pictures.Fault):
            faults.append(found)
        else:
            images[place] = found
    if faults:
        raise UserError(pictures.describe(faults))
    return images, labels


def _entries(rows: Rows) -> Iterator[tuple[NDArray[np.uint8] | Image.Image | Path, list[Any]]]:
    """Yield each image, as uint8 (H, W, C), picture or file, with its label if it has one."""
    for place in range(len(rows)):
        entry, label = rows[place], []
        if isinstance(entry, tuple | list) and len(entry) == 2:
            entry, label = entry[0], [entry[1]]
        if isinstance(entry, torch.Tensor):
            entry = _to_numpy(entry)
        if isinstance(entry, str):
            entry = Path(entry)
        if isinstance(entry, np.ndarray):
            entry = _to_pixels(_with_channels(entry[None], None))[0]
        if not isinstance(entry, np.ndarray | Image.Image | Path):
            what = type(entry).__name__
            raise UserError(f"images: a {what} among them; give {FORM}, pictures or their files")
        yield entry, [one.item() if isinstance(one, torch.Tensor) else one for one in label]


def _to_numpy(images: torch.Tensor) -> NDArray[Any]:
    values = images.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()  # NumPy has no bfloat16


def _with_channels(images: NDArray[Any], channels: int | None) -> NDArray[Any]:
    """View images as (N, H, W, C): those of torch have C before H, and one image may lack N."""
    shape, several = images.shape, images
    single = images.ndim == 3 and (shape[2] in CHANNELS or (shape[0] == COLOURS == channels))
    square = images.ndim == 2 and shape[0] == shape[1]  # others may be rows of flat images
    if single or (square and channels):  # who learns a first step gives no single image
        several = images[None]
    if several.ndim == 3:
        several = several[..., None]
    first, last = (several.ndim == 4 and several.shape[axis] in CHANNELS for axis in (1, 3))
    if first == last or 0 in several.shape[1:]:
        why = "may have its channels first or last" if first else "does not fit"
        raise UserError(f"images: {images.dtype} of shape {shape} {why}; give {FORM}")
    return np.moveaxis(several, 1, 3) if first else several


def _to_pixels(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UserError(f"images: {images.dtype} of shape {images.shape} does not fit; give {FORM}")
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        fault = f"images: {images.dtype} from {images.min():g} to {images.max():g}"
        raise UserError(f"{fault}; give floats in [0, 1], not normalised, or uint8")
    return (images * 255).round().astype(np.uint8)


def check_labelled(images: NDArray[np.uint8], found: list[Any], labels: object = None) -> Labelled:
    """Join images (N, H, W, C) with ``labels``, or with those ``found`` among them; raises UserError."""
    if labels is None and not found:
        raise UserError("labels: there is none; y should be a 1d array, or X pairs of image and label")
    kind, values = check_labels(found if labels is None else labels)
    if len(images) != len(values):
        raise UserError(f"labels: {len(values)} for {len(images)} images; give one for each image")
    if not len(values):
        raise UserError("images: there is none; give at least one image of every class")
    return Labelled(images, values, kind)


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
    """Return labels that are not ``known``, sorted or in ``order``; raises UserError for a wrong order."""
    old = {*known}
    new: list[Label] = [label for label in np.unique(labels).tolist() if label not in old]
    if order is None:
        return new
    listed = list(order)
    if len(listed) != len(new) or set(listed) != set(new):
        raise UserError(f"order: {name_labels(listed)}; list every new class once, {name_labels(new)}")
    own = {label: label for label in new}  # 1.0 equals the label 1, but is written differently
    return [own[label] for label in listed]


def foresee(given: object, earlier: frozenset[Label] | None, old: Iterable[Label]) -> frozenset[Label] | None:
    """Return all classes that will ever come, as given now or ``earlier``; raises UserError for others."""
    foreseen = earlier if given is None else frozenset(check_labels(given)[1].tolist())
    if foreseen is None:
        return None
    if earlier not in (None, foreseen):
        raise UserError("classes: others than at an earlier step; give the same, or leave them out")
    if others := [label for label in old if label not in foreseen]:
        raise UserError(f"classes: without {name_labels(others)}; list all that will ever come, or none")
    return foreseen


def split_known(labelled: Labelled, classes: Sequence[Label]) -> list[NDArray[np.uint8]]:
    """Split images by known class; raises UserError for other classes, and for a class without images."""
    present = check_known(labelled, classes)
    if missing := [label for label in classes if label not in present]:
        raise UserError(f"labels: {name_labels(missing)} without an image; give some of every class learned")
    return labelled.of_each(classes)


def check_known(labelled: Labelled, classes: Sequence[Label]) -> set[Label]:
    """Return the labels that are present; raises UserError if one is not among ``classes``."""
    present = set(np.unique(labelled.labels).tolist())
    if unknown := sorted(present - set(classes)):
        raise UserError(f"labels: {name_labels(unknown)} not learned; leave their images out")
    return present


def name_labels(labels: Iterable[Label]) -> str:
    names = [repr(label) for label in labels]
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"
