"""Top-1 after every step, seed by seed: of a seed, every program learns the same classes and images."""

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import combinations

from bench.pycil.contenders import Job, Step
from bench.pycil.process import Learner
from bench.pycil.results import Record, Results


def learn_seeds(
    learners: Sequence[Learner],
    prepare: Callable[[int], AbstractContextManager[Job]],
    seeds: Sequence[int],
    results: Results,
    say: Callable[[str], None],
) -> None:
    """Add a record per seed and contender, where there is none yet; ``prepare`` makes a seed's job."""
    names = [learner.contender.name for learner in learners]
    for seed in seeds:
        if all(results.has(name, seed) for name in names):
            continue
        with prepare(seed) as job:
            # The first to run changes from seed to seed.
            for turn in range(len(learners)):
                learner = learners[(turn + seed) % len(learners)]
                if not results.has(learner.contender.name, seed):
                    record = learn_once(learner, job)
                    results.add(record)
                    say(f"seed {seed}, {record['program']}: {record['top1']}")


def learn_once(learner: Learner, job: Job) -> Record:
    """The record of one run."""
    steps = [event for event in learner.events(job) if isinstance(event, Step)]
    top1 = [round(step.top1, 4) for step in steps]
    return {
        "case": job.plan.name,
        "program": learner.contender.name,
        "seed": job.seed,
        "top1": top1,
        "average": round(statistics.mean(top1), 4),
        "gamma": [None if step.gamma is None else round(step.gamma, 4) for step in steps],
    }


def paired(records: Sequence[Record], first: str, second: str, step: int | None) -> list[float]:
    """Top-1 of ``first`` less that of ``second``, in points, for every seed that both have.

    ``step`` counts from 0; None: the average over steps.
    """
    by_name = {
        name: {one["seed"]: one for one in records if one["program"] == name} for name in (first, second)
    }
    seeds = sorted(by_name[first].keys() & by_name[second].keys())
    return [_figure(by_name[first][seed], step) - _figure(by_name[second][seed], step) for seed in seeds]


def format_accuracy(records: Sequence[Record]) -> str:
    """Means of every program and differences of every two, with standard errors over seeds."""
    if not records:
        return "nothing yet"
    steps: list[int | None] = [*range(len(records[0]["top1"])), None]
    titles = ["average" if step is None else f"step {step + 1}" for step in steps]
    lines = [f"| top-1, percent | seeds | {' | '.join(titles)} |", f"| --- | ---: {'| ---: ' * len(steps)}|"]
    names = sorted({one["program"] for one in records})
    for name in names:
        own = [one for one in records if one["program"] == name]
        cells = [f"{statistics.mean(_figure(one, step) for one in own):.2f}" for step in steps]
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    for first, second in combinations(names, 2):
        pairs = [paired(records, first, second, step) for step in steps]
        if len(pairs[0]) > 1:
            cells = [f"{statistics.mean(pair):+.2f} ± {standard_error(pair):.2f}" for pair in pairs]
            lines.append(f"| {first} less {second} | {len(pairs[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; needs two values or more."""
    return statistics.stdev(values) / math.sqrt(len(values))


def _figure(record: Record, step: int | None) -> float:
    return float(record["average"] if step is None else record["top1"][step])
