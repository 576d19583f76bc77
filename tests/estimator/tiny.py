"""The smallest classifier, and images to teach it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import der

SIDE, PER_CLASS = 8, 6
SHORT = {
    f"train__{phase}__{name}": value
    for phase in ("base", "incremental", "incremental__classifier")
    for name, value in {"epochs": 1, "milestones": [], "batch_size": 6}.items()
}


def tiny_classifier(callback: der.Listener | None = None, **changes: Any) -> der.DERClassifier:
    """One epoch a phase, ResNet-8."""
    settings = SHORT | {"network__depth": 8, "memory__budget": 12} | changes
    return der.DERClassifier(der.preset("digits"), device="cpu", callback=callback, **settings)


def noise(*labels: Any, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Images of another brightness for each of ``labels``, shuffled, and their labels."""
    random = np.random.RandomState(len(labels))
    each = np.repeat(np.array(labels), PER_CLASS)
    images = (
        random.randint(0, 60, (len(each), side, side))
        + 30 * np.repeat(np.arange(len(labels)), PER_CLASS)[:, None, None]
    )
    order = random.permutation(len(each))
    return images[order].astype(np.uint8), each[order]


def taught(*steps: tuple[Any, ...], **changes: Any) -> der.DERClassifier:
    """A classifier after some steps, each of its labels."""
    model = tiny_classifier(**changes)
    for labels in steps:
        model.partial_fit(*noise(*labels))
    return model


def state_of(model: der.DERClassifier) -> bytes:
    """All that it predicts of some images, as bytes that tell two networks apart."""
    return model.predict_proba(noise(1, 2, 3)[0]).tobytes()
