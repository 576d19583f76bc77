"""`python -m bench.baselines`: DER, other rebalancings of it, and simple baselines, step by step.

On the digits, in the steps of preset digits; with --images on 20 classes of CIFAR-100, in those of
bench.additions. docs/baselines.md says what is compared; this renews its tables. A finished run is kept in
bench/results/baselines and is not run again.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import der
from bench import additions, heads
from bench.results_file import describe_processor
from der.core.files import atomic_file
from der.data.sources.registry import digits
from tools.results.render import put_block

RESULTS, PAGE = Path("bench/results/baselines"), Path("docs/baselines.md")
CIFAR = additions.COMPARISONS["four_steps"]
STEPS = ((0, 4), (4, 6), (6, 8), (8, 10))  # first label of each step, and the one after its last
REPLAY = {  # one extractor goes on training
    "network__expansion": False,
    "train__incremental__auxiliary_weight": 0.0,
    "train__incremental__rebalancing": "none",
}
# With the smallest memory that the library takes: an exemplar a class.
FINE_TUNING = REPLAY | {"memory__budget": 1, "memory__allocation": "per_class"}
OTHERS = {name: f"DER, {name.replace('_', ' ')}" for name in heads.OTHERS}

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]  # (N, H, W, C), and labels (N,)
Scores = Iterator[dict[str, float]]  # after each step, by method: top-1 from 0 to 1
_spent: dict[str, float] = {}  # seconds of each other rebalancing at the last step, and of all at all steps


class Step(NamedTuple):
    """The training images of a step's classes, and of all classes so far; the tests of all so far."""

    new: Images
    seen: Images
    tests: Images


class Data(NamedTuple):
    """A data set in steps, for a seed, and its recipe."""

    name: str
    seeds: int
    list_steps: Callable[[int], list[Step]]
    make: Callable[[int], der.DERClassifier]


def list_digits(seed: int = 0) -> list[Step]:
    """The images of every step, divided into training and tests as the pipeline divides them."""
    classes = list(digits(der.preset("digits").dataset))

    def take(first: int, last: int, of_tests: bool) -> Images:
        parts = [one.test if of_tests else one.train for one in classes[first:last]]
        labels = np.repeat(np.arange(first, last), [len(part) for part in parts])
        return np.concatenate([np.asarray(part) for part in parts]), labels

    return [Step(take(*step, False), take(0, step[1], False), take(0, step[1], True)) for step in STEPS]


def list_cifar(images: Path, seed: int) -> list[Step]:
    """The steps of the comparison of additions, of the same seed."""
    parts = [uses for _, uses in additions.read_steps(CIFAR, images, seed)]

    def upto(use: str, number: int) -> Images:
        x, y = zip(*(part[use] for part in parts[: number + 1]), strict=True)
        return np.concatenate(x), np.concatenate(y)

    return [Step(one["train"], upto("train", k), upto("test", k)) for k, one in enumerate(parts)]


def all_data(images: Path) -> dict[str, Data]:
    def classify_digits(seed: int) -> der.DERClassifier:
        return der.DERClassifier("digits", random_state=seed, device="cpu")

    def classify_cifar(seed: int) -> der.DERClassifier:
        return additions.classifier_of(CIFAR, "plain", seed)

    return {
        "digits": Data("digits", 4, list_digits, classify_digits),
        "cifar": Data("cifar", 3, lambda seed: list_cifar(images, seed), classify_cifar),
    }


def learn_steps(
    name: str, changes: dict[str, Any], steps: Sequence[Step], model: der.DERClassifier
) -> Scores:
    """One classifier learns step by step."""
    model.set_params(**changes)
    for step in steps:
        model.partial_fit(*step.new)
        yield {name: model.score(*step.tests)}


def learn_der(steps: Sequence[Step], model: der.DERClassifier) -> Scores:
    """DER, tested with all rebalancings and by its class means."""
    model.set_params(train__incremental__rebalancing=heads.NAME)
    for step in steps:
        model.partial_fit(*step.new)
        metrics, features = model.evaluate(*step.tests), model.transform(step.tests[0])
        found = {"DER": metrics["top1"] / 100, "nearest class mean": metrics["nme"]["top1"] / 100}
        for name, label in OTHERS.items():
            found[label] = found["DER"]  # at step 1 nothing is rebalanced
            if heads.heads:
                found[label] = heads.heads[name].top1(features, step.tests[1], model.classes_)
                _spent[label] = heads.heads[name].seconds
                _spent["all"] = _spent.get("all", 0.0) + _spent[label]
        yield found


def fit_frozen(steps: Sequence[Step], model: der.DERClassifier) -> Scores:
    """The network of step 1 stays; a linear classifier is fitted to its features of all images so far."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    model.partial_fit(*steps[0].new)
    for step in steps:
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        (images, labels), (tests, truth) = step.seen, step.tests
        head.fit(model.transform(images), labels)
        yield {"frozen network": float(head.score(model.transform(tests), truth))}


def fit_jointly(steps: Sequence[Step], model: der.DERClassifier) -> Scores:
    """A new network at every step, trained on all images of all classes so far."""
    for step in steps:
        yield {"joint training": model.fit(*step.seen).score(*step.tests)}


RUNS: dict[str, Callable[[Sequence[Step], der.DERClassifier], Scores]] = {
    "DER": learn_der,
    "replay": lambda steps, model: learn_steps("replay", REPLAY, steps, model),
    "fine-tuning": lambda steps, model: learn_steps("fine-tuning", FINE_TUNING, steps, model),
    "frozen network": fit_frozen,
    "joint training": fit_jointly,
}
KEPT = {  # in the order of the table: the old images that a method keeps
    **dict.fromkeys(("joint training", "frozen network"), "all"),
    **dict.fromkeys(("DER", *OTHERS.values(), "nearest class mean", "replay"), "200"),
    "fine-tuning": "1 a class",
}


def run(name: str, data: Data, seed: int) -> list[dict[str, Any]]:
    """A row for each method that the run tells of: top-1 after every step, in percent.

    The seconds of another rebalancing are its own at the last step, not of the run.
    """
    heads.heads.clear()
    _spent.clear()
    busy = time.process_time()
    found = list(RUNS[name](data.list_steps(seed), data.make(seed)))
    whole = time.process_time() - busy - _spent.get("all", 0.0)
    return [
        {
            "method": method,
            "seed": seed,
            "top1": [round(100 * one[method], 2) for one in found],
            "core_seconds": round(_spent.get(method, whole), 1),
        }
        for method in found[0]
    ]


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each method: means over seeds, with their standard errors."""
    head = ["method", "old images kept", "average top-1", "last top-1", "core seconds"]
    lines = [head, ["---", "---:", "---:", "---:", "---:"]]
    for method, kept in KEPT.items():
        own = [row for row in rows if row["method"] == method]
        top1 = np.array([row["top1"] for row in own])
        cells = [
            f"{values.mean():.2f} ± {values.std(ddof=1) / math.sqrt(len(values)):.2f}"
            for values in (top1.mean(axis=1), top1[:, -1])
        ]
        lines.append([method, kept, *cells, f"{np.mean([row['core_seconds'] for row in own]):.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="CIFAR-100 as .npz: train_x, train_y, test_x, test_y")
    parser.add_argument("--seeds", type=int, nargs="*")
    options = parser.parse_args()
    data = all_data(options.images)["cifar" if options.images else "digits"]
    place = RESULTS / f"{data.name}.json"
    for seed in range(data.seeds) if options.seeds is None else options.seeds:
        for name in RUNS:
            record = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"runs": []}
            if (name, seed) in {(row["method"], row["seed"]) for row in record["runs"]}:
                continue
            found = run(name, data, seed)
            record["runs"] += found
            record["machine"] = describe_processor()
            with atomic_file(place) as partial:
                partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            print(*(one.values() for one in found), flush=True)
    PAGE.write_text(put_block(PAGE, f"baselines: {data.name}", format_rows(record["runs"])), encoding="utf-8")


if __name__ == "__main__":
    main()
