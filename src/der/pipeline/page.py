"""The page of the finished run, and that of several that git has."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from der.core.errors import UserError
from der.core.sealed import SealedDirectory
from der.data.arrays import load_memory, read_labels
from der.evaluation.metrics import CONFUSION, StepMetrics, read_confusion
from der.evaluation.mistakes import PREDICTED, read_mistakes, read_predictions
from der.pipeline import paths, provenance
from der.pipeline.dvc import count_same_steps
from der.pipeline.inputs import RunImages
from der.pipeline.params import compare, shorten, value_at
from der.pipeline.paths import COMPARISON, PARAMS, RAW, REPORT, SUMMARY, stages_of
from der.pipeline.presets import PLACES, load_settings
from der.pipeline.provenance import (
    check_training,
    code_revision,
    nearest_preset,
    read_committed,
    shown_parameters,
)
from der.pipeline.results import joint_accuracy, published_curves, published_references
from der.pipeline.runs import digest_results, read_steps, read_summary
from der.pipeline.timing import read_times
from der.report.comparison import ComparedRun, write_comparison
from der.report.page import Difference, FinishedRun, Origin, show_bytes, write_report
from der.settings.experiment import Settings
from der.settings.sections import SPLITS
from der.settings.yaml import parse_yaml
from der.summary.series import Summary, read_logs
from der.summary.verdict import Reference, chance, earlier

ASIDE = ("check", "report")  # what is no part of the work, and what cannot know its own time


def make_page() -> str:
    """Write metrics/report.html; returns a sentence that says where."""
    write_report(read_run(load_settings()), REPORT)
    return f"report: {REPORT}, {show_bytes(REPORT.stat().st_size)}"


def read_run(settings: Settings) -> FinishedRun:
    """What the other stages left; raises UserError for a file that is missing, damaged or of another run.

    A run is another one, too, if it was trained with other parameters than ``settings``.
    """
    steps = read_steps()
    last = len(steps)
    check_training(last, settings)
    summary = read_summary(steps)
    confusions = [read_confusion(paths.evaluation(step["step"])) for step in steps]
    memory = load_memory(paths.memory(last))
    predictions = read_predictions(paths.evaluation(last))
    for step, (_, names) in zip(steps, confusions, strict=True):
        _check(paths.evaluation(step["step"]) / CONFUSION, "classes", len(names), step)
    _check(paths.memory(last), "classes", len(memory.class_means), steps[-1])
    _check(paths.evaluation(last) / PREDICTED, "test_images", len(predictions.predicted), steps[-1])
    images, protocol = RunImages(settings.dataset.source), settings.protocol
    before = read_earlier(summary)
    stages = [stage for stage in stages_of(last) if stage not in ASIDE]
    return FinishedRun(
        summary=summary,
        steps=steps,
        confusions=[counts for counts, _ in confusions],
        names=confusions[-1][1],
        logs=read_logs(paths.training(step) for step in range(1, last + 1)),
        memory=memory,
        exemplars=[np.bincount(read_labels(paths.memory(step["step"]))) for step in steps],
        predictions=predictions,
        mistakes=[read_mistakes(paths.evaluation(step["step"])) for step in steps],
        published=published_curves(images, protocol),
        joint=joint_accuracy(images, steps[-1]["classes"]),
        references=[
            *published_references(images, protocol),
            chance([step["classes"] for step in steps]),
            *([before] if before else []),
        ],
        parameters=shown_parameters(settings),
        origin=read_origin(settings),
        stages=stages,
        times=read_times(stages),
        digest=digest_results(),
    )


def read_origin(settings: Settings) -> Origin:
    """Describe the run with ``settings`` whose images lie in data/raw; raises UserError if none do."""
    preset, changes = nearest_preset(shown_parameters(settings))
    digests = "".join(SealedDirectory(RAW / split).digest for split in SPLITS)
    return Origin(
        source=settings.dataset.source,
        identity=hashlib.sha256(digests.encode()).hexdigest(),
        preset=preset,
        differences=[Difference(one.key, shorten(one.new), shorten(one.old)) for one in changes],
        seed=settings.train.seed,
        revision=code_revision(),
    )


def _check(path: Path, measure: str, found: int, step: StepMetrics) -> None:
    """Raise UserError unless a file is of as many classes or images as its step."""
    if found != step[measure]:  # type: ignore[literal-required]
        what = measure.removeprefix("test_")
        raise UserError(
            f"{path}: of {found} {what}, but step {step['step']} has {step[measure]}; run `dvc repro`"  # type: ignore[literal-required]
        )


def read_earlier(own: Summary) -> Reference | None:
    """The newest committed results that are not ``own``, over the steps that have the same images in both.

    None where there is none such, as after another data set or protocol, and where these steps are as they
    were, as after `der add`.
    """
    committed = provenance.last_other_summary(own)
    if committed is None:
        return None
    rows = list(zip(committed.summary["steps"].values(), own["steps"].values(), strict=False))
    steps = count_same_steps(committed.revision, len(rows))
    if [row["top1"] for row, _ in rows[:steps]] == [row["top1"] for _, row in rows[:steps]]:
        return None
    source = f"{SUMMARY} of commit {committed.revision}"
    if steps == len(own["steps"]) == len(committed.summary["steps"]):
        return earlier("before the last edit", source, committed.summary)
    name = f"before the last edit, steps 1 to {steps}" if steps > 1 else "before the last edit, step 1"
    return earlier(name, f"{source}, over the steps that have the same images", committed.summary, steps)


def make_comparison(names: Sequence[str]) -> str:
    """Write metrics/comparison.html of revisions or experiments; returns a sentence that says where.

    Raises UserError for fewer than two names, and for one of no finished run.
    """
    if len(names) < 2:
        raise UserError(f"der report: {names[0]} alone; name two or more revisions or experiments to compare")
    write_comparison(read_compared(names), COMPARISON)
    return f"report: {COMPARISON}, {show_bytes(COMPARISON.stat().st_size)}"


def read_compared(names: Sequence[str]) -> list[ComparedRun]:
    """The runs, each with the parameters in which any two of them differ, places on a machine aside."""
    found = [_read_committed_run(name) for name in names]
    first = found[0][2]
    keys = {change.key: None for *_, parameters in found for change in compare(first, parameters)}
    shown = [key for key in keys if key not in PLACES]
    return [
        ComparedRun(name, revision, summary, {key: shorten(value_at(parameters, key)) for key in shown})
        for name, (revision, summary, parameters) in zip(names, found, strict=True)
    ]


def _read_committed_run(name: str) -> tuple[str, Summary, Any]:
    """Short revision, summary and parameters of a run."""
    revision = provenance.find_commit(name)
    if revision is None:
        raise UserError(f"{name}: neither a revision nor an experiment; see `git log` and `dvc exp list`")
    summary = provenance.read_summary(revision)
    if summary is None:
        raise UserError(f"{name}: its commit {revision} holds no {SUMMARY} of a finished run; name another")
    return revision, summary, parse_yaml(read_committed(PARAMS, revision).decode(), PARAMS)
