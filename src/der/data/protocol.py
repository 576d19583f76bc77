"""Decides which classes arrive at which step, and identifies the images of a data set.

N images, S side in pixels, C channels
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError, composed
from der.data.arrays import list_classes, read_classes
from der.data.sources import LATER
from der.settings.experiment import read_order
from der.settings.sections import SPLITS, ProtocolSettings


@dataclass(frozen=True)
class Identity:
    sha256: str  # of the classes' names and the multiset of images of each, in hexadecimal
    classes: int
    train: int  # images
    test: int  # images


def order_classes(names: list[str], order: int | list[int | str] | str) -> list[str]:
    """Return the classes in the order in which they are taught.

    ``names`` come in alphabetical order. A seed (an integer or a list of integers: RandomState([1993]) and
    RandomState(1993) differ) permutes them by numpy's RandomState(order).permutation; "alphabetical" keeps
    them; a list of all names replaces them, also a named one for CIFAR-100. Raises UserError for a list that
    does not hold every name once, and for integers that are all the names.
    """
    if order == "alphabetical":
        return names
    if isinstance(order, str):
        order = [*read_order(order)]
    if isinstance(order, list) and order and isinstance(order[0], str):
        listed = [composed(str(name)) for name in order]
        _check_names("protocol.class_order", listed, names)
        if len(listed) != len(names):
            missing = next(name for name in names if name not in listed)
            raise UserError(f"protocol.class_order: {missing!r} is missing; list every class once")
        return listed
    if isinstance(order, list) and sorted(map(str, order)) == sorted(names):
        fault = "protocol.class_order: whole numbers are seeds, and these are the names of all classes"
        raise UserError(f"{fault}; put the names in quotes, ['{order[0]}', ...]")
    permutation = np.random.RandomState(order).permutation(len(names))  # type: ignore[arg-type]
    return [names[index] for index in permutation]


def plan_steps(names: list[str], settings: ProtocolSettings) -> list[list[str]]:
    """Return the class names of every step in label order; ``names`` has all names in alphabetical order.

    Without explicit steps, the first step takes ``first_classes`` and each later one ``later_classes``; the
    last step takes the remainder. Names of photos for later steps are left out. Raises UserError for an
    unknown, repeated or missing class.
    """
    photos = {name: found[1] for name in names if (found := LATER.fullmatch(name))}
    names = [name for name in names if name not in photos]
    for name, of in photos.items():
        if of not in names:
            raise UserError(f"{name}: @ marks more photos of a class, but {of} is none; rename the folder")
    if settings.steps is not None:
        steps = [[*map(composed, step)] for step in settings.steps]
        if not steps or [] in steps:
            raise UserError("protocol.steps: no step, or one without a class; name the classes of every step")
        _check_names("protocol.steps", [name for step in steps for name in step], names)
        return steps
    ordered = order_classes(names, settings.class_order)
    first = settings.first_classes or len(names)
    if first > len(names):
        fault = f"protocol.first_classes: {settings.first_classes}, but the data set has {len(names)} classes"
        raise UserError(f"{fault}; write at most {len(names)}")
    starts = range(first, len(ordered), settings.later_classes)
    later = [ordered[start : start + settings.later_classes] for start in starts]
    return [ordered[:first], *later]


def arriving(names: Iterable[str], steps: list[list[str]]) -> list[dict[str, list[str]]]:
    """Return, for each step and each class, the names in ``names`` under which its training images come.

    A new class comes under its name; ant@3 with step 3, with ant's own step if that is later, or with the
    last step if there is no step 3.
    """
    found = [{name: [name] for name in classes} for classes in steps]
    own = {name: step for step, classes in enumerate(steps, start=1) for name in classes}
    for name in sorted(names):
        if (later := LATER.fullmatch(name)) and later[1] in own:
            step = min(max(own[later[1]], int(later[2])), len(steps))
            found[step - 1].setdefault(later[1], []).append(name)
    return found


def _check_names(where: str, listed: list[str], names: list[str]) -> None:
    for name, count in Counter(listed).items():
        if name not in names:
            known = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            raise UserError(f"{where}: {name!r} is no class of the data set; it has {known}")
        if count > 1:
            raise UserError(f"{where}: {name!r} stands {count} times; name every class once")


def identify(directory: Path) -> Identity:
    """Identify the images in ``directory/{train,test}/<class>.npy``, uint8 (N, S, S, C).

    It depends only on class names and pixels, not on file names, the order within a class or the format.
    """
    parts = []
    for split in SPLITS:
        names = list_classes(directory / split)
        parts.append(dict(zip(names, read_classes(directory / split, names), strict=True)))
    form = next(iter(parts[0].values())).shape[1:]
    content = [form, *({name: digest_images(part[name]) for name in part} for part in parts)]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    counts = [sum(map(len, part.values())) for part in parts]
    return Identity(hashlib.sha256(text.encode()).hexdigest(), len(parts[0]), *counts)


def digest_images(images: NDArray[np.uint8]) -> str:
    """Digest the images (N, S, S, C) as a multiset: the SHA-256 of the sorted SHA-256 of each image."""
    digests = sorted(hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in images)
    return hashlib.sha256(b"".join(digests)).hexdigest()
