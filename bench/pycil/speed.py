"""Seconds per epoch at every step: contenders take turns, one epoch each, and only one runs at a time."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence

from bench.pycil.contenders import Epoch, Job, Step
from bench.pycil.process import Learner
from bench.pycil.results import Record


def measure(learners: Sequence[Learner], job: Job, say: Callable[[str], None]) -> Iterator[Record]:
    """A record per step and contender; they begin at each step and epoch together."""
    runs = [learner.events(job) for learner in learners]
    for step in range(1, len(job.plan.new_classes) + 1):
        epochs: list[list[Epoch]] = [[] for _ in runs]
        for epoch in range(job.plan.epochs):
            for learner, run, times in zip(learners, runs, epochs, strict=True):
                event = next(run)
                assert isinstance(event, Epoch) and (event.step, event.epoch) == (step, epoch), event
                say(f"step {step}, epoch {epoch + 1}, {learner.contender.name}: {event.seconds:.2f} s")
                times.append(event)
        for run in runs:
            event = next(run)
            assert isinstance(event, Step) and event.step == step, event
        timed = [[one.seconds for one in times[job.plan.warmup_epochs :]] for times in epochs]
        yield from summarize_step(job, step, epochs[0][0].images, learners, timed)
    for run in runs:
        assert next(run, None) is None


def summarize_step(
    job: Job, step: int, images: int, learners: Sequence[Learner], seconds: Sequence[list[float]]
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
            "case": job.plan.name,
            "program": learner.contender.name,
            "seed": job.seed,
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


def format_speed(records: Sequence[Record]) -> str:
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
