"""`python -m bench.photos.simple FOLDER...`: preset photos beside the simple ways, on folders of photos.

A folder has train/<class>/* and test/<class>/*. Every way gets the same features of EfficientNet-Lite0, of
each image and of the flipped one. The classes arrive in alphabetical order in --steps steps, of which each is
judged on the test images of all classes seen. The images of a class are drawn anew for every seed.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

import der
from bench.results_file import describe_processor
from der.inference.predictor import list_pictures, read_chunks
from der.model.features import FrozenFeatures, start_frozen
from der.model.weights import read_start
from der.train.convex import fit_classifier

RESULTS = Path("bench/results/photos/simple.json")
Features = NDArray[np.float32]  # (N, V, D), of one class
A = TypeVar("A", bound=np.generic)
Predict = Callable[[NDArray[np.float64]], NDArray[np.int64]]


def nearest_mean(classes: Sequence[Features]) -> Predict:
    """The class whose mean has the smallest angle to an image's features."""
    units = [one[:, 0] / np.linalg.norm(one[:, 0], axis=1, keepdims=True) for one in classes]
    means = np.stack([one.mean(axis=0) for one in units])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return lambda seen: (seen @ means.T).argmax(axis=1)


def with_scikit_learn(model: Any) -> Callable[[Sequence[Features]], Predict]:
    """A classifier of scikit-learn on all views."""

    def fit(classes: Sequence[Features]) -> Predict:
        rows = np.concatenate([one.reshape(-1, one.shape[2]) for one in classes])
        labels = np.repeat(np.arange(len(classes)), [one.shape[0] * one.shape[1] for one in classes])
        fitted = model.fit(rows, labels)
        return lambda seen: fitted.predict(seen)  # type: ignore[no-any-return]

    return fit


def photos(classes: Sequence[Features]) -> Predict:
    """What preset photos fits."""
    fitted, _ = fit_classifier(classes, "auto", None)
    return lambda seen: (seen @ fitted.weight_KP.T + fitted.bias_K).argmax(axis=1)


def discriminant(shrinkage: float | str) -> Any:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)


WAYS: dict[str, Callable[[Sequence[Features]], Predict]] = {
    "photos": photos,
    "nearest class mean": nearest_mean,
    "logistic regression": with_scikit_learn(LogisticRegression(max_iter=2000, class_weight="balanced")),
    "LDA, shrinkage 0.1": with_scikit_learn(discriminant(0.1)),
    "LDA, Ledoit-Wolf": with_scikit_learn(discriminant("auto")),
}


def read_folder(folder: Path, side: int) -> dict[str, list[NDArray[np.uint8]]]:
    """The images (N, H, W, C) of each class, by "train" and "test"."""
    found = {}
    for split in ("train", "test"):
        classes = [list_pictures([place]) for place in sorted((folder / split).iterdir())]
        found[split] = [next(read_chunks(files, side, 3, len(files)))[1] for files in classes]
    return found


def compute(
    images: dict[str, list[NDArray[np.uint8]]], weights: str
) -> tuple[dict[str, list[Features]], float]:
    """The features of all images, and the seconds of a core for an image and its flipped one."""
    settings = replace(der.preset("photos").network, weights=weights)
    checkpoint = start_frozen(settings, images["train"], read_start(settings, weights))
    frozen = FrozenFeatures(checkpoint.network, checkpoint.metadata.normalization, torch.device("cpu"))
    begin, found = time.process_time(), {}
    for split, views in (("train", 2), ("test", 1)):
        found[split] = [one["features"] for one in frozen.records(images[split], views)]
    return found, 2 * (time.process_time() - begin) / frozen.computed


def measure(features: dict[str, list[Features]], count: int, steps: int, seed: int) -> dict[str, list[float]]:
    """Average and last top-1 in percent, and seconds of a core for all fits, by way."""
    drawn = draw(features["train"], count, [seed, count])
    ends, found = ends_of(len(drawn), steps), {}
    for name, fit in WAYS.items():
        begin, accuracies = time.process_time(), []
        for end in ends:
            predict = fit(drawn[:end])
            seen = np.concatenate([one[:, 0] for one in features["test"][:end]]).astype(np.float64)
            labels = np.repeat(np.arange(end), [len(one) for one in features["test"][:end]])
            accuracies.append(100 * float((predict(seen) == labels).mean()))
        found[name] = [float(np.mean(accuracies)), accuracies[-1], time.process_time() - begin]
    return found


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of folders, and of what their features are computed with."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--weights", default="pretrained", help="a file, or timm's own")
    parser.add_argument("--side", type=int, default=112)
    return parser


def ends_of(classes: int, steps: int) -> list[int]:
    """How many classes have been seen after each step, of at least two classes at first."""
    return np.linspace(0, classes, steps + 1).round().astype(int)[1:].clip(2).tolist()  # type: ignore[no-any-return]


def draw(classes: Sequence[NDArray[A]], count: int, seed: int | list[int]) -> list[NDArray[A]]:
    """As many images of each class at random, or all of a rarer one."""
    stream = np.random.default_rng(seed)
    return [one[stream.permutation(len(one))[:count]] for one in classes]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for folder in options.folders:
        features, seconds = compute(read_folder(folder, options.side), options.weights)
        usual = sorted(map(len, features["train"]))[len(features["train"]) // 2]
        for count in [one for one in options.images if one <= usual]:  # rarer classes have fewer
            every = [measure(features, count, options.steps, seed) for seed in range(options.seeds)]
            form = {
                "folder": folder.name,
                "side": options.side,
                "images": count,
                "classes": len(features["test"]),
            }
            for way in WAYS:
                each = np.array([one[way] for one in every])
                errors = each.std(axis=0, ddof=1) / np.sqrt(len(each))
                values = {
                    "average": [round(each[:, 0].mean(), 2), round(errors[0], 2)],
                    "last": [round(each[:, 1].mean(), 2), round(errors[1], 2)],
                    "fit_seconds": round(each[:, 2].mean(), 2),
                    "pass_seconds": round(seconds * count * len(features["test"]), 2),
                }
                rows = [row for row in rows if {**row, **form, "way": way} != row]
                rows.append(
                    form | {"way": way, "seeds": options.seeds} | values | {"machine": describe_processor()}
                )
                print(folder.name, count, way, values, flush=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
