"""Makes the page of the finished run, and the page that compares several runs in git."""

from collections.abc import Sequence

import numpy as np

from der.core.errors import UserError
from der.core.files import SealedDirectory, digest
from der.data.arrays import load_memory, read_labels
from der.evaluation import results
from der.pipeline import dvc, inputs, presets, project, provenance, runs, timing
from der.report import page as report_page
from der.settings import parsing, sections
from der.settings.experiment import Settings
from der.summary import series, verdict

ASIDE = ("check", "report")  # stages that are no part of the work, or cannot know their own time


def make_page(settings: Settings) -> str:
    """Write metrics/report.html of the run with ``settings``; returns a sentence that says where."""
    if sentences := dvc.find_misrecorded().values():
        raise UserError(f"{'; '.join(sentences)}: run `dvc repro` again")
    return report_page.write_page(report_page.render(read_run(settings)), project.REPORT)


def read_run(settings: Settings) -> report_page.FinishedRun:
    """Read the results of the other stages; raises UserError for those of other parameters, or damaged."""
    steps = runs.read_steps()
    last = len(steps)
    provenance.check_training(last, settings)
    summary = runs.read_summary(steps)
    evaluations = [project.evaluation(step) for step in range(1, last + 1)]
    confusions = [results.read_confusion(evaluation) for evaluation in evaluations]
    memory, classes = load_memory(project.memory(last)), steps[-1]["classes"]
    if len(memory.class_means) != classes:
        found = f"of {len(memory.class_means)} classes, but step {last} has {classes}"
        raise UserError(f"{project.memory(last)}: {found}; run `dvc repro`")
    images, protocol = inputs.RunImages(settings.dataset.source), settings.protocol
    before, parameters = read_earlier(summary), provenance.shown_parameters(settings)
    preset, changes = provenance.nearest_preset(parameters)
    digests = "".join(SealedDirectory(project.RAW / split).digest for split in sections.SPLITS)
    idle = [f"compress@{step}" for step in range(1, last + 1) if not project.is_compressed(step)]
    idle += ["features"] * (settings.network.tuned != "none")
    stages = [stage for stage in project.stages_of(last) if stage not in (*ASIDE, *idle)]
    return report_page.FinishedRun(
        summary=summary,
        steps=steps,
        confusions=[counts for counts, _ in confusions],
        names=confusions[-1][1],
        logs=series.read_logs(project.training(step) for step in range(1, last + 1)),
        memory=memory,
        exemplars=[np.bincount(read_labels(project.memory(step))) for step in range(1, last + 1)],
        predictions=results.read_predictions(evaluations[-1]),
        mistakes=[results.read_mistakes(evaluation) for evaluation in evaluations],
        published=runs.published_curves(images, protocol),
        joint=runs.joint_accuracy(images, classes),
        references=[
            *runs.published_references(images, protocol),
            *verdict.baselines(
                [counts.sum(axis=1) for counts, _ in confusions],
                [step["nme"]["top1"] for step in steps],
                [step["frozen_top1"] for step in steps if "frozen_top1" in step],
            ),
            *([before] if before else []),
        ],
        parameters=parameters,
        source=settings.dataset.source,
        identity=digest(digests.encode()),
        preset=preset,
        differences=[(one.key, project.shorten(one.new), project.shorten(one.old)) for one in changes],
        seed=settings.train.seed,
        revision=provenance.code_revision(),
        stages=stages,
        times=timing.read_times(stages),
        digest=runs.digest_results(),
        compressed=runs.compare_compressed(range(1, last + 1)),
    )


def read_earlier(own: series.Summary) -> verdict.Reference | None:
    """Find the newest other results in git, over the first steps of the same images, if any changed."""
    committed = provenance.last_other_summary(own)
    if committed is None:
        return None
    revision, before = committed
    rows = list(zip(before["steps"].values(), own["steps"].values(), strict=False))
    steps = dvc.count_same_steps(revision, len(rows))
    if all(row["top1"] == mine["top1"] for row, mine in rows[:steps]):
        return None
    name, source = "before the last edit", f"{project.SUMMARY} of commit {revision}"
    if steps == len(own["steps"]) == len(before["steps"]):
        return verdict.earlier(name, source, before)
    name += f", steps 1 to {steps}" if steps > 1 else ", step 1"
    return verdict.earlier(name, f"{source}, over the steps that have the same images", before, steps)


def make_comparison(names: Sequence[str]) -> str:
    """Write metrics/comparison.html of revisions or experiments; returns a sentence that says where."""
    if len(names) < 2:
        raise UserError(f"der report: {names[0]} alone; name two or more revisions or experiments to compare")
    return report_page.write_page(report_page.render_comparison(read_compared(names)), project.COMPARISON)


def read_compared(names: Sequence[str]) -> list[report_page.ComparedRun]:
    """Read the runs, each with the parameters in which two of them differ, except places on a machine."""
    found, parameters = [], []
    for name in names:
        revision = provenance.find_commit(name)
        if revision is None:
            raise UserError(f"{name}: neither a revision nor an experiment; see `git log` and `dvc exp list`")
        summary = provenance.read_summary(revision)
        if summary is None:
            fault = f"{name}: its commit {revision} holds no {project.SUMMARY} of a finished run"
            raise UserError(f"{fault}; name another")
        found.append(report_page.ComparedRun(name, revision, summary, {}))
        text = provenance.read_committed(project.PARAMS, revision).decode()
        parameters.append(parsing.parse_yaml(text, project.PARAMS))
    changes = [change for one in parameters for change in project.compare(parameters[0], one)]
    for key in dict.fromkeys(change.key for change in changes if change.key not in presets.PLACES):
        for run, values in zip(found, parameters, strict=True):
            run.differing[key] = project.shorten(project.value_at(values, key))
    return found
