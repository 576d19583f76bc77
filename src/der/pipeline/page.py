"""The page of a finished run, from what the stages left."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.arrays import (Memory, load_memory, read_labels)
from der.evaluation.metrics import (CONFUSION, StepMetrics, read_confusion)
from der.evaluation.mistakes import (PREDICTED, Predictions, read_mistakes, read_predictions)
from der.pipeline import paths
from der.pipeline.earlier_run import read_earlier
from der.pipeline.inputs import (RunImages)
from der.pipeline.paths import (stages_of)
from der.pipeline.presets import (load_settings)
from der.pipeline.provenance import (check_training, read_origin, shown_parameters)
from der.pipeline.results import (joint_accuracy, published_curves, published_references)
from der.pipeline.shown import digest_results
from der.pipeline.step_metrics import read_steps, read_summary
from der.pipeline.timing import read_times
from der.report.finished_run import FinishedRun
from der.report.tables import show_bytes
from der.report.write import write_report
from der.settings.experiment import Settings
from der.settings.sections import ProtocolSettings
from der.summary.logs import read_logs
from der.summary.series import Summary
from der.summary.verdict import Reference, chance

ASIDE = ("check", "report")  # what is no part of the work, and what cannot know its own time


def make_page() -> str:
    """Write metrics/report.html; returns a sentence that says where."""
    write_report(read_run(load_settings()), paths.REPORT)
    return f"report: {paths.REPORT}, {show_bytes(paths.REPORT.stat().st_size)}"


def read_run(settings: Settings) -> FinishedRun:
    """What the other stages left; raises UserError for a file that is missing, damaged or of another run.

    A run is another one, too, if it was trained with other parameters than ``settings``.
    """
    steps = read_steps()
    last = len(steps)
    check_training(last, settings)
    summary = read_summary(steps)
    confusions = [_read_confusion(step) for step in steps]
    images = RunImages(settings.dataset.source)
    stages = [stage for stage in stages_of(last) if stage not in ASIDE]
    return FinishedRun(
        summary=summary,
        steps=steps,
        confusions=[counts for counts, _ in confusions],
        names=confusions[-1][1],
        logs=read_logs(paths.training(step) for step in range(1, last + 1)),
        memory=_read_memory(steps),
        exemplars=[np.bincount(read_labels(paths.memory(step["step"]))) for step in steps],
        predictions=_read_predictions(steps[-1]),
        mistakes=[read_mistakes(paths.evaluation(step["step"])) for step in steps],
        published=published_curves(images, settings.protocol),
        joint=joint_accuracy(images, steps[-1]["classes"]),
        references=_read_references(summary, images, settings.protocol),
        parameters=shown_parameters(settings),
        origin=read_origin(settings),
        stages=stages,
        times=read_times(stages),
        digest=digest_results(),
    )


def _read_references(summary: Summary, images: RunImages, protocol: ProtocolSettings) -> list[Reference]:
    """What the run is compared to: published results of its protocol, chance, what was committed before."""
    sizes = [step["classes"] for step in summary["steps"].values()]
    before = read_earlier(summary)
    return [*published_references(images, protocol), chance(sizes), *([before] if before else [])]


def _read_confusion(step: StepMetrics) -> tuple[NDArray[np.int64], list[str]]:
    path = paths.evaluation(step["step"])
    counts, names = read_confusion(path)
    _check_classes(path / CONFUSION, len(names), step)
    return counts, names


def _read_predictions(step: StepMetrics) -> Predictions:
    path = paths.evaluation(step["step"])
    predictions = read_predictions(path)
    if len(predictions.predicted) != step["test_images"]:
        raise UserError(
            f"{path / PREDICTED}: of {len(predictions.predicted)} images, but step {step['step']} has "
            f"{step['test_images']}; run `dvc repro`"
        )
    return predictions


def _read_memory(steps: list[StepMetrics]) -> Memory:
    path = paths.memory(len(steps))
    memory = load_memory(path)
    _check_classes(path, len(memory.class_means), steps[-1])
    return memory


def _check_classes(path: Path, classes: int, step: StepMetrics) -> None:
    """Raise UserError unless a file of a step is of its number of classes."""
    if classes != step["classes"]:
        raise UserError(
            f"{path}: of {classes} classes, but step {step['step']} has {step['classes']}; run `dvc repro`"
        )
