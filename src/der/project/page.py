"""The page of a finished run, from what the stages left."""

from der.common.errors import UserError
from der.common.serialization import read_json
from der.data.exemplars import load_memory
from der.evaluation.confusion import read_confusion
from der.evaluation.mistakes import load_mistakes
from der.project import paths
from der.project.presets import PLACES
from der.project.provenance import check_training
from der.project.published import published_curves
from der.project.settings import load_settings
from der.project.step_metrics import read_steps
from der.report.page import write_report
from der.report.run import Run
from der.settings.experiment import Settings
from der.settings.section import to_values
from der.summary.logs import read_logs
from der.summary.series import summarise


def make_page() -> str:
    """Write metrics/report.html; returns a sentence that says where."""
    settings = load_settings()
    write_report(read_run(settings), paths.REPORT)
    return f"report: {paths.REPORT}, {paths.REPORT.stat().st_size / 1e6:.1f} MB"


def read_run(settings: Settings) -> Run:
    """What the other stages left; raises UserError for a file that is missing, damaged or of another run.

    A run is another one, too, if it was trained with other parameters than ``settings``.
    """
    steps = read_steps()
    last = len(steps)
    check_training(last, settings)
    summary = read_json(paths.SUMMARY)
    if summary != summarise(steps):
        raise UserError(f"{paths.SUMMARY}: not of these steps; run `dvc repro`")
    confusion, names = read_confusion(paths.confusion(last))
    memory = load_memory(paths.memory(last))
    for path, classes in (
        (paths.confusion(last), len(names)),
        (paths.memory(last), len(memory.class_means)),
    ):
        if classes != steps[-1]["classes"]:
            raise UserError(
                f"{path}: of {classes} classes, but step {last} has {steps[-1]['classes']}; run `dvc repro`"
            )
    return Run(
        summary=summary,
        steps=steps,
        confusion=confusion,
        names=names,
        log=read_logs(paths.training_log(number) for number in range(1, last + 1)),
        memory=memory,
        mistakes=load_mistakes(paths.mistakes(last)),
        published=published_curves(settings),
        parameters=shown_parameters(settings),
    )


def shown_parameters(settings: Settings) -> dict[str, dict[str, object]]:
    """All parameters but places on someone's machine."""
    sections = to_values(settings)
    for place in PLACES:
        section, _, name = place.partition(".")
        del sections[section][name]
    return sections
