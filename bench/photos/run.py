"""One row: a classifier taught in steps, its accuracy after each, and what that took."""

import time
from pathlib import Path
from typing import Any

import numpy as np

import der
from bench.photos.images import read_tasks
from bench.photos.rows import PRETRAINED, Row

PHASES = ("base", "incremental")


def classifier_of(row: Row, weights: str, epochs: int | None) -> der.DERClassifier:
    """The classifier of a row; ``epochs`` replaces those of its schedule, for a trial."""
    changes = {f"network__{name}": value for name, value in row.contender.network.items()}
    if row.contender.network.get("weights", weights) is not None:
        changes |= {"network__weights": weights, "network__backbone": PRETRAINED}
    schedule = row.contender.schedule
    if epochs is not None:
        schedule = schedule | {"epochs": epochs, "milestones": []}
    for phase in PHASES:
        changes |= {f"train__{phase}__{name}": value for name, value in schedule.items()}
    changes |= {f"train__incremental__{name}": value for name, value in row.contender.later.items()}
    return der.DERClassifier(der.preset("photos_tuned"), **changes, train__seed=row.seed)


def run(
    row: Row, images: Path, weights: str, epochs: int | None = None, tests: int | None = None
) -> dict[str, Any]:
    """The row's figures: top-1 after every step, seconds of teaching, and of all cores together."""
    tasks = read_tasks(images, row.images, row.contender.side, row.seed, tests)
    model = classifier_of(row, weights, epochs)
    top1, seconds, cores = [], [], 0.0
    for step, task in enumerate(tasks, start=1):
        wall, busy = time.perf_counter(), time.process_time()
        model.partial_fit(task.train, task.train_labels, order=list(dict.fromkeys(task.train_labels)))
        seconds.append(round(time.perf_counter() - wall, 1))
        cores += time.process_time() - busy
        seen = tasks[:step]
        labels = [label for one in seen for label in one.test_labels]
        metrics = model.evaluate(np.concatenate([one.test for one in seen]), labels)
        top1.append(round(metrics["top1"], 2))
    return {
        **row.key,
        "side": row.contender.side,
        "top1": top1,
        "average": round(float(np.mean(top1)), 2),
        "last": top1[-1],
        "seconds": seconds,
        "core_seconds": round(cores, 1),
        "parameters": metrics["parameters"],
    }
