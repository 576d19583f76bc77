"""`python -m bench.additions`: what each addition to the training brings on 20 classes of CIFAR-100.

docs/results.md says what is compared. A finished run is a line of bench/results/additions*.jsonl, and is not
run again; the steps of an unfinished one are kept in --scratch. Several processes may take different seeds.
"""

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import der
from bench import heads
from bench.results_file import describe_processor
from tools.results.render import put_block

PAGE, RESULTS = Path("docs/results.md"), Path("bench/results")
HELD_OUT = 50  # of the 500 training images of a class; the tests are all 100
ORDER = 1993  # plus the seed: that of the order of classes, and of the images
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "autoaugment": {"train__augmentation__policy": "autoaugment"},
    "trivial": {"train__augmentation__policy": "trivial"},
    "cutout": {"train__augmentation__cutout": 8},
    "cutmix": {"train__augmentation__cutmix": 1.0},
    "averaging": {"train__averaging": 0.25},
    "distillation": {"train__incremental__distillation": {"features": 0.5, "logits": 0.5}},
}
MEASURES = ("held_out", "test")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The classes, the training images of each, and the notebook's schedule with fewer epochs."""

    classes: int
    step: int
    trained: int
    epochs: int
    milestones: dict[str, list[int]]
    rows: Path
    budget: int = 200  # exemplars in all
    batch_size: int = 128
    heads: tuple[str, ...] = ("classifier_learning", "logistic")  # other rebalancings, of the same extractors


COMPARISONS = {
    "four_steps": Comparison(
        20, 5, 300, 60, {"base": [18, 36, 51], "incremental": [21, 42, 59]}, RESULTS / "additions.jsonl"
    ),
    # Many more batches, as the notebook has: what needs long training shows here.
    "first_step": Comparison(25, 25, 450, 101, {"base": [30, 60, 85]}, RESULTS / "additions_long.jsonl"),
    # As many again, in two steps, and as many exemplars of a class as the notebook has after its first.
    "two_steps": Comparison(
        classes=20,
        step=10,
        trained=450,
        epochs=101,
        milestones={"base": [30, 60, 85], "incremental": [35, 71, 100]},
        rows=RESULTS / "additions_two.jsonl",
        budget=800,
        batch_size=64,
        heads=heads.OTHERS,
    ),
}
# With as few exemplars of a class as the notebook has after its last step.
COMPARISONS["few_exemplars"] = dataclasses.replace(
    COMPARISONS["two_steps"], budget=200, rows=RESULTS / "additions_few.jsonl"
)

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def classifier_of(comparison: Comparison, arm: str, seed: int) -> der.DERClassifier:
    """The notebook's recipe with fewer epochs and exemplars, and the arm's additions, joined by "+"."""
    changes: dict[str, Any] = {"train__seed": seed, "memory__budget": comparison.budget}
    changes["train__incremental__rebalancing"] = heads.NAME
    for phase, milestones in comparison.milestones.items():
        changes |= {
            f"train__{phase}__epochs": comparison.epochs,
            f"train__{phase}__milestones": milestones,
            f"train__{phase}__batch_size": comparison.batch_size,
            f"train__{phase}__learning_rate": 0.1 * comparison.batch_size / 128,  # in proportion
        }
    for addition in arm.split("+"):
        changes |= ARMS[addition]
    return der.DERClassifier(der.preset("notebook"), device="cpu", **changes)


def read_steps(comparison: Comparison, images: Path, seed: int) -> list[tuple[list[int], dict[str, Arrays]]]:
    """The classes of every step, and the step's images by use: "train", "held_out", "test"."""
    arrays = np.load(images)
    draw = np.random.RandomState(ORDER + seed)
    order = draw.permutation(100)[: comparison.classes].tolist()
    rows = {label: draw.permutation(np.flatnonzero(arrays["train_y"] == label)) for label in order}
    steps = []
    for start in range(0, comparison.classes, comparison.step):
        classes = order[start : start + comparison.step]
        uses = {
            "train": ("train", np.concatenate([rows[label][: comparison.trained] for label in classes])),
            "held_out": ("train", np.concatenate([rows[label][-HELD_OUT:] for label in classes])),
            "test": ("test", np.flatnonzero(np.isin(arrays["test_y"], classes))),
        }
        steps.append(
            (classes, {use: (arrays[f"{of}_x"][at], arrays[f"{of}_y"][at]) for use, (of, at) in uses.items()})
        )
    return steps


def run(comparison: Comparison, arm: str, seed: int, images: Path, scratch: Path) -> dict[str, Any]:
    """Teach all steps; returns top-1 after each, in percent, and what that took."""
    model, steps = classifier_of(comparison, arm, seed), read_steps(comparison, images, seed)
    found: dict[str, Any] = {"arm": arm, "seed": seed, **{use: [] for use in MEASURES}, "core_seconds": 0.0}
    kept = scratch / comparison.rows.stem / f"{arm}-{seed}"
    if (kept / "model").exists():
        model, found = der.load(kept / "model", device="cpu"), json.loads((kept / "found.json").read_text())
    learned = len(model.classes_) // comparison.step if model.__sklearn_is_fitted__() else 0
    model.set_params(train__incremental__rebalancing=heads.NAME)
    found |= {use: found[use][:learned] for use in MEASURES}
    other = found.setdefault("heads", {name: {use: [] for use in MEASURES} for name in comparison.heads})
    for number in range(learned, len(steps)):
        classes, parts = steps[number]
        busy = time.process_time()
        model.partial_fit(*parts["train"], order=classes)
        found["core_seconds"] += round(time.process_time() - busy, 1)
        for use in MEASURES:
            seen = [uses[use] for _, uses in steps[: number + 1]]
            images_of, labels = (np.concatenate(one) for one in zip(*seen, strict=True))
            found[use].append(round(100 * model.score(images_of, labels), 2))
            features, is_new = model.transform(images_of), np.isin(labels, classes)
            for name in comparison.heads if number else ():
                old, new, top1 = (
                    round(100 * heads.heads[name].top1(features[part], labels[part], model.classes_), 2)
                    for part in (~is_new, is_new, slice(None))
                )
                other[name][use] = [*other[name][use][: number - 1], top1]
                other[name][f"{use}, old and new"] = [old, new]  # of the last step
        print(arm, seed, number + 1, found["test"][-1], flush=True)
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "found.json").write_text(json.dumps(found), encoding="utf-8")
        model.save(kept / "model")  # last: it tells which steps are finished
    return found | {"machine": describe_processor()}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The finished runs."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def with_heads(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, and one for each other rebalancing that was tried at all later steps of a row."""
    found = [*rows]
    for row in rows:
        for name, other in row.get("heads", {}).items():
            if other["test"] and len(other["test"]) == len(row["test"]) - 1:
                values = {use: [row[use][0], *other[use]] for use in MEASURES}
                found.append(
                    {"arm": f"{row['arm']}, {name.replace('_', ' ')}", "seed": row["seed"], **values}
                )
    return found


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each arm: means over seeds, and the mean paired difference with its standard error."""
    rows = with_heads(rows)
    found = {(row["arm"], row["seed"]): row for row in rows}
    arms = [*dict.fromkeys(row["arm"] for row in rows)]
    reference = "plain" if "plain" in arms else "".join(arms[:1])  # gains are over this
    head = ["addition", "seeds", "average", "last", "average, held out", "last, held out"]
    lines = [head, ["---", *["---:"] * 5]]
    for arm in arms:
        seeds = [seed for one, seed in found if one == arm and (reference, seed) in found]
        cells = []
        for use in ("test", "held_out"):
            for measure in (np.mean, lambda values: values[-1]):
                own, other = (
                    np.array([measure(found[one, seed][use]) for seed in seeds]) for one in (arm, reference)
                )
                error = np.std(own - other, ddof=1) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
                spread = "" if math.isnan(error) else f" ± {error:.2f}"
                gain = f", {(own - other).mean():+.2f}{spread}" if arm != reference else ""
                cells.append(f"{own.mean():.2f}{gain}")
        lines.append([arm, str(len(seeds)), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="CIFAR-100 as .npz: train_x, train_y, test_x, test_y")
    parser.add_argument("--comparison", choices=COMPARISONS, default="four_steps")
    parser.add_argument("--scratch", type=Path, help="directory for unfinished runs")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), help="additions, or several joined by +")
    parser.add_argument("--seeds", type=int, nargs="*", default=[*range(5)])
    options = parser.parse_args()
    comparison = COMPARISONS[options.comparison]
    for seed in options.seeds if options.images else ():
        for arm in options.arms:
            if any((row["arm"], row["seed"]) == (arm, seed) for row in read_rows(comparison.rows)):
                continue
            found = run(comparison, arm, seed, options.images, options.scratch)
            with comparison.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
    table = format_rows(read_rows(comparison.rows))
    print(table)
    PAGE.write_text(put_block(PAGE, comparison.rows.stem, table), encoding="utf-8")


if __name__ == "__main__":
    main()
