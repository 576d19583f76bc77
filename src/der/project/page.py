"""The page of a finished run, from what the stages left."""

from pathlib import Path
from typing import Any

from der.common.errors import DamageError, UserError
from der.common.serialization import read_json
from der.data.exemplars import Memory, load_memory
from der.evaluation.confusion import CONFUSION, read_confusion
from der.evaluation.metrics import StepMetrics
from der.evaluation.mistakes import read_mistakes
from der.project import paths
from der.project.presets import PLACES
from der.project.provenance import check_training
from der.project.published import published_curves
from der.project.settings import load_settings
from der.project.step_metrics import read_steps
from der.report.finished_run import FinishedRun
from der.report.page import write_report
from der.settings.experiment import Settings
from der.settings.section import to_values
from der.summary.logs import read_logs
from der.summary.series import Summary, summarise


def make_page() -> str:
    """Write metrics/report.html; returns a sentence that says where."""
    write_report(read_run(load_settings()), paths.REPORT)
    return f"report: {paths.REPORT}, {paths.REPORT.stat().st_size / 1e6:.1f} MB"


def read_run(settings: Settings) -> FinishedRun:
    """What the other stages left; raises UserError for a file that is missing, damaged or of another run.

    A run is another one, too, if it was trained with other parameters than ``settings``.
    """
    steps = read_steps()
    last = len(steps)
    check_training(last, settings)
    summary = _read_summary(steps)
    confusion, names = read_confusion(paths.evaluation(last))
    _check_classes(paths.evaluation(last) / CONFUSION, len(names), steps)
    return FinishedRun(
        summary=summary,
        steps=steps,
        confusion=confusion,
        names=names,
        logs=read_logs(paths.training(step) for step in range(1, last + 1)),
        memory=_read_memory(steps),
        mistakes=read_mistakes(paths.evaluation(last)),
        published=published_curves(settings),
        parameters=shown_parameters(settings),
    )


def _read_summary(steps: list[StepMetrics]) -> Summary:
    summary = summarise(steps)
    if read_json(paths.SUMMARY) != summary:
        raise DamageError(f"{paths.SUMMARY}: not of the steps in {paths.evaluation(1).parent}")
    return summary


def _read_memory(steps: list[StepMetrics]) -> Memory:
    path = paths.memory(len(steps))
    memory = load_memory(path)
    _check_classes(path, len(memory.class_means), steps)
    return memory


def _check_classes(path: Path, classes: int, steps: list[StepMetrics]) -> None:
    """Raise UserError unless a file of the last step is of its number of classes."""
    last = steps[-1]
    if classes != last["classes"]:
        raise UserError(
            f"{path}: of {classes} classes, but step {last['step']} has {last['classes']}; run `dvc repro`"
        )


def shown_parameters(settings: Settings) -> dict[str, dict[str, Any]]:
    """All parameters but places on someone's machine."""
    sections = to_values(settings)
    for place in PLACES:
        section, _, name = place.partition(".")
        del sections[section][name]
    return sections
