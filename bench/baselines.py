"""`python -m bench.baselines`: DER and simple baselines on the digits, in the steps of preset digits.

docs/baselines.md says what is compared; this renews its table. A finished run is kept in
bench/results/baselines/digits.json and is not run again.
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
from bench.results_file import describe_processor
from der.core.files import atomic_file
from der.data.sources.registry import digits
from tools.results.render import put_block

RESULTS, PAGE = Path("bench/results/baselines/digits.json"), Path("docs/baselines.md")
SEEDS = range(4)
STEPS = ((0, 4), (4, 6), (6, 8), (8, 10))  # first label of each step, and the one after its last
REPLAY = {  # one extractor goes on training
    "network__expansion": False,
    "train__incremental__auxiliary_weight": 0.0,
    "train__incremental__rebalancing": "none",
}
# With the smallest memory that the library takes: an exemplar a class.
FINE_TUNING = REPLAY | {"memory__budget": 1, "memory__allocation": "per_class"}

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]  # (N, 8, 8, 1), and labels (N,)
Scores = Iterator[dict[str, float]]  # after each step, by method: top-1 from 0 to 1


class Step(NamedTuple):
    """The training images of a step's classes, and of all classes so far; the tests of all so far."""

    new: Images
    seen: Images
    tests: Images


def list_steps() -> list[Step]:
    """The images of every step, divided into training and tests as the pipeline divides them."""
    classes = list(digits(der.preset("digits").dataset))

    def take(first: int, last: int, of_tests: bool) -> Images:
        parts = [one.test if of_tests else one.train for one in classes[first:last]]
        labels = np.repeat(np.arange(first, last), [len(part) for part in parts])
        return np.concatenate([np.asarray(part) for part in parts]), labels

    return [Step(take(*step, False), take(0, step[1], False), take(0, step[1], True)) for step in STEPS]


def learn_steps(name: str, changes: dict[str, Any], steps: Sequence[Step], seed: int) -> Scores:
    """One classifier learns step by step; DER is tested by its class means, too."""
    model = der.DERClassifier("digits", random_state=seed, device="cpu", **changes)
    for step in steps:
        model.partial_fit(*step.new)
        metrics = model.evaluate(*step.tests)
        means = {"nearest class mean": metrics["nme"]["top1"] / 100} if name == "DER" else {}
        yield {name: metrics["top1"] / 100, **means}


def fit_frozen(steps: Sequence[Step], seed: int) -> Scores:
    """The network of step 1 stays; a linear classifier is fitted to its features of all images so far."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    model = der.DERClassifier("digits", random_state=seed, device="cpu").fit(*steps[0].new)
    for step in steps:
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        (images, labels), (tests, truth) = step.seen, step.tests
        head.fit(model.transform(images), labels)
        yield {"frozen network": float(head.score(model.transform(tests), truth))}


def fit_jointly(steps: Sequence[Step], seed: int) -> Scores:
    """A new network at every step, trained on all images of all classes so far."""
    for step in steps:
        model = der.DERClassifier("digits", random_state=seed, device="cpu").fit(*step.seen)
        yield {"joint training": model.score(*step.tests)}


RUNS: dict[str, Callable[[Sequence[Step], int], Scores]] = {
    "DER": lambda steps, seed: learn_steps("DER", {}, steps, seed),
    "replay": lambda steps, seed: learn_steps("replay", REPLAY, steps, seed),
    "fine-tuning": lambda steps, seed: learn_steps("fine-tuning", FINE_TUNING, steps, seed),
    "frozen network": fit_frozen,
    "joint training": fit_jointly,
}
KEPT = {  # in the order of the table: the old images that a method keeps
    **dict.fromkeys(("joint training", "frozen network"), "all"),
    **dict.fromkeys(("DER", "nearest class mean", "replay"), "200"),
    "fine-tuning": "1 a class",
}


def run(name: str, steps: Sequence[Step], seed: int) -> list[dict[str, Any]]:
    """A row for each method that the run tells of: top-1 after every step, in percent."""
    busy = time.process_time()
    found = list(RUNS[name](steps, seed))
    seconds = round(time.process_time() - busy, 1)
    top1 = {method: [round(100 * one[method], 2) for one in found] for method in found[0]}
    return [
        {"method": method, "seed": seed, "top1": values, "core_seconds": seconds}
        for method, values in top1.items()
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
    argparse.ArgumentParser(description=__doc__).parse_args()
    record = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"runs": []}
    steps = list_steps()
    for seed in SEEDS:
        for name in RUNS:
            if (name, seed) in {(row["method"], row["seed"]) for row in record["runs"]}:
                continue
            record["runs"] += run(name, steps, seed)
            record["machine"] = describe_processor()
            with atomic_file(RESULTS) as partial:
                partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            print(*record["runs"][-1].values(), flush=True)
    PAGE.write_text(put_block(PAGE, "baselines", format_rows(record["runs"])), encoding="utf-8")


if __name__ == "__main__":
    main()
