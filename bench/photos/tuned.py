"""`python -m bench.photos.tuned FOLDER...`: preset photos_tuned on the draws of bench.photos.simple.

"joint" tunes on all classes at once. A finished row is not run again.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import der
from bench.photos.simple import draw, ends_of, make_parser, read_folder
from bench.results_file import describe_processor

RESULTS = Path("bench/results/photos/tuned.json")
WAYS = {  # of the second stage
    "classifier learning": "classifier_learning",
    "logistic": "logistic",
    "joint": "none",
}
Classes = list[NDArray[np.uint8]]


def measure(
    train: Classes, tests: Classes, ends: list[int], rebalancing: str, seed: int, weights: str, budget: int
) -> dict[str, Any]:
    """Top-1 in percent after every step, and seconds of a core of all trainings."""
    changes: dict[str, Any] = {"network__weights": weights, "train__seed": seed}
    changes |= {"train__incremental__rebalancing": rebalancing, "memory__budget": budget}
    model, top1, seconds = der.DERClassifier(der.preset("photos_tuned"), device="cpu", **changes), [], 0.0
    for first, end in zip([0, *ends], ends, strict=False):
        begin, own = time.process_time(), range(first, end)
        if own:  # of few classes some steps have none
            labels = np.repeat(own, [len(train[one]) for one in own])
            model.partial_fit(np.concatenate(train[first:end]), labels)
        seconds += time.process_time() - begin
        labels = np.repeat(range(end), [*map(len, tests[:end])])
        top1.append(round(100 * float(model.score(np.concatenate(tests[:end]), labels)), 2))
    return {"top1": top1, "core_seconds": round(seconds, 1)}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=[*WAYS])
    parser.add_argument("--memory", type=int, default=100)
    options = parser.parse_args()
    cases = [
        (count, folder, seed, way)
        for count in options.images
        for folder in options.folders
        for seed in range(options.seeds)
        for way in options.ways
    ]
    for count, folder, seed, way in cases:
        rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
        form = {"folder": folder.name, "side": options.side, "images": count, "way": way, "seed": seed}
        form |= {"memory": options.memory}
        if any(row | form == row for row in rows):
            continue
        images = read_folder(folder, options.side)
        train = draw(images["train"], count, [seed, count])
        ends = ends_of(len(train), 1 if way == "joint" else options.steps)
        found = measure(train, images["test"], ends, WAYS[way], seed, options.weights, options.memory)
        rows.append(form | found | {"machine": describe_processor()})
        print(form, found, flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
