"""Arrays of your own, learned a few classes at a time.

    python examples/arrays.py mine.npz

The file holds images, uint8 (n, side, side) or (n, side, side, 3), and labels (n,), numbers or text. Without
one, stripes of four directions are drawn, so that there is something to see.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import der

Images = NDArray[np.uint8]
Labels = NDArray[Any]


class Narrator(der.Listener):
    """Says how each epoch went."""

    def on_epoch(self, record: der.EpochRecord) -> None:
        """One line."""
        print(f"    {record.phase}, epoch {record.epoch}: loss {record.loss:.3f}, {record.accuracy:.1f} %")


def draw_stripes(per_class: int = 60, side: int = 16) -> tuple[Images, Labels]:
    """Noisy stripes of another direction for every class, at any phase."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    directions = {"across": rows, "down": columns, "falling": rows - columns, "rising": rows + columns}
    images = [
        128 + 80 * np.sin(places + random.uniform(0, 6)) + random.normal(0, 15, (side, side))
        for places in directions.values()
        for _ in range(per_class)
    ]
    return np.clip(images, 0, 255).astype(np.uint8), np.repeat(list(directions), per_class)


def read_arrays(file: Path) -> tuple[Images, Labels]:
    """Images and labels of an .npz file."""
    with np.load(file) as arrays:
        return arrays["images"], arrays["labels"]


def main() -> None:
    """Learn step by step, say how well old and new classes are known, save, load, predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="an .npz file of images and labels")
    parser.add_argument("--classes", type=int, default=2, help="classes of a step (default: 2)")
    parser.add_argument("--epochs", type=int, default=4, help="of a step (default: 4)")
    parser.add_argument("--save", type=Path, default=Path("model"), help="directory (default: model)")
    options = parser.parse_args()
    images, labels = draw_stripes() if options.file is None else read_arrays(options.file)
    is_test = np.random.default_rng(1).random(len(images)) < 0.25

    settings = {f"train__{phase}__epochs": options.epochs for phase in ("base", "incremental")}
    settings |= {f"train__{phase}__milestones": [] for phase in ("base", "incremental")}
    model = der.DERClassifier(der.preset("digits"), callback=Narrator(), network__depth=8, **settings)
    classes = np.unique(labels)
    for start in range(0, len(classes), options.classes):
        new, seen = classes[start : start + options.classes], classes[: start + options.classes]
        print(f"new classes: {', '.join(map(str, new))}")
        of_step = np.isin(labels, new) & ~is_test
        model.partial_fit(images[of_step], labels[of_step])
        tested = np.isin(labels, seen) & is_test
        print(f"  accuracy on {len(seen)} classes: {100 * model.score(images[tested], labels[tested]):.1f} %")

    model.save(options.save)
    loaded = der.load(options.save)
    assert (loaded.predict(images[is_test]) == model.predict(images[is_test])).all()
    print(f"saved in {options.save}; the first test image shows {loaded.predict(images[is_test][:1])[0]}")


if __name__ == "__main__":
    main()
