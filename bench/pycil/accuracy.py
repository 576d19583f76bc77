"""Top-1 after every step, seed by seed: of a seed, every program learns the same classes and images."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.pycil.contenders import Contender, Step
from bench.pycil.images import write_images
from bench.pycil.plans import Plan
from bench.pycil.process import Job, Learner
from bench.pycil.results import Record


def learn_seeds(
    contenders: Sequence[Contender],
    checkout: Path,
    archive: Path,
    plan: Plan,
    seeds: Sequence[int],
    device: str,
    is_done: Callable[[int, str], bool],
    say: Callable[[str], None],
) -> Iterator[Record]:
    """A record per seed and contender, but for those that ``is_done``, asked just before, knows of."""
    with ExitStack() as stack:
        learners = [stack.enter_context(Learner(contender, checkout)) for contender in contenders]
        for seed in seeds:
            if all(is_done(seed, contender.name) for contender in contenders):
                continue
            with TemporaryDirectory() as root:
                write_images(archive, plan, seed, Path(root))
                job = Job(plan, Path(root), seed, device)
                # The first to run changes from seed to seed.
                for turn in range(len(learners)):
                    learner = learners[(turn + seed) % len(learners)]
                    if not is_done(seed, learner.contender.name):
                        record = learn_once(learner, job)
                        say(f"seed {seed}, {record['program']}: {record['top1']}")
                        yield record


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

    def figure(record: Record) -> float:
        return float(record["average"] if step is None else record["top1"][step])

    by_name = {
        name: {one["seed"]: one for one in records if one["program"] == name} for name in (first, second)
    }
    seeds = sorted(by_name[first].keys() & by_name[second].keys())
    return [figure(by_name[first][seed]) - figure(by_name[second][seed]) for seed in seeds]


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
        cells = []
        for step in steps:
            values = [one["average"] if step is None else one["top1"][step] for one in own]
            cells.append(f"{statistics.mean(values):.2f}")
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
