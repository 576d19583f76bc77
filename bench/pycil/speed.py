"""Seconds per epoch at every step: contenders take turns, one epoch each, and only one runs at a time."""

import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.pycil.contenders import Contender, Epoch, Step
from bench.pycil.plans import Plan
from bench.pycil.process import Job, Learner
from bench.pycil.results import Record


def measure(
    contenders: list[Contender], checkout: Path, job: Job, say: Callable[[str], None]
) -> Iterator[Record]:
    """A record per step and contender; they begin at each step and epoch together."""
    plan = job.plan
    with ExitStack() as stack:
        learners = [stack.enter_context(Learner(contender, checkout)) for contender in contenders]
        runs = [learner.events(job) for learner in learners]
        for step in range(1, len(plan.new_classes) + 1):
            seconds: list[list[float]] = [[] for _ in runs]
            images = 0
            for epoch in range(plan.epochs):
                for number, run in enumerate(runs):
                    event = next(run)
                    assert isinstance(event, Epoch) and (event.step, event.epoch) == (step, epoch), event
                    images = event.images
                    say(f"step {step}, epoch {epoch + 1}, {contenders[number].name}: {event.seconds:.2f} s")
                    if epoch >= plan.warmup_epochs:
                        seconds[number].append(event.seconds)
            for run in runs:
                event = next(run)
                assert isinstance(event, Step) and event.step == step, event
            yield from summarize_step(plan, step, images, learners, seconds)
        for run in runs:
            assert next(run, None) is None


def summarize_step(
    plan: Plan, step: int, images: int, learners: list[Learner], seconds: list[list[float]]
) -> Iterator[Record]:
    """The records of a step; ``seconds`` of the timed epochs, by learner."""
    pycil = [
        times
        for learner, times in zip(learners, seconds, strict=True)
        if learner.contender.program == "pycil"
    ]
    fastest = min(pycil, key=statistics.median, default=None)
    for learner, times in zip(learners, seconds, strict=True):
        median = statistics.median(times)
        yield {
            "case": plan.name,
            "program": learner.contender.name,
            "step": step,
            "images": images,
            "seconds_per_epoch": [round(one, 4) for one in times],
            "images_per_second": round(images / median, 1),
            "times_fastest_pycil": None
            if fastest is None
            else round(statistics.median(a / b for a, b in zip(fastest, times, strict=True)), 3),
            "peak_mb": round(learner.peak_mb, 1),
            "peak_family_mb": round(max(learner.peak_mb, learner.peak_family_mb), 1),
        }


def format_speed(records: list[Record]) -> str:
    """A Markdown table."""
    lines = [
        "| step | program | s/epoch | images/s | times the fastest PyCIL | peak MB | with workers |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one['step']} | {one['program']} | {statistics.median(one['seconds_per_epoch']):.2f} "
        f"| {one['images_per_second']:.0f} | {one['times_fastest_pycil'] or math.nan:.2f} "
        f"| {one['peak_mb']:.0f} | {one['peak_family_mb']:.0f} |"
        for one in records
    ]
    return "\n".join(lines)
