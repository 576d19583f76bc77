"""Run by the python of an environment that has the wheel alone: a classifier learns two steps of noise.

Arguments: the directory to save it in.
"""

import sys

import numpy as np

import der

PHASES = ("base", "incremental")
SHORT = {
    f"train__{phase}__{name}": value
    for phase in PHASES
    for name, value in (("epochs", 2), ("milestones", []))
}


def main() -> None:
    """Teach two steps, save, load, and predict the same."""
    draw = np.random.RandomState(0)
    images = np.concatenate([draw.randint(low, low + 60, (24, 8, 8)) for low in (0, 60, 120, 180)]).astype(
        np.uint8
    )
    labels = np.repeat(["black", "dark", "light", "white"], 24)
    model = der.DERClassifier(der.preset("digits"), device="cpu", network__depth=8, **SHORT)
    model.partial_fit(images[:48], labels[:48]).partial_fit(images[48:], labels[48:])
    model.save(sys.argv[1])
    loaded = der.load(sys.argv[1])
    assert (loaded.predict(images) == model.predict(images)).all()
    print(*loaded.classes_)


main()
