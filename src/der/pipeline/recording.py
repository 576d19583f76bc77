"""Keeping the results of a finished run of a preset in results/."""

from contextlib import chdir
from dataclasses import asdict
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from der.core.errors import UserError
from der.core.serialization import read_json, write_json
from der.data.identity import identify
from der.data.protocol import plan_steps
from der.data.sources.registry import find_source
from der.pipeline.changes import Change, compare
from der.pipeline.editing import put_values
from der.pipeline.graph import stages_of
from der.pipeline.history import CODE, git
from der.pipeline.images import ExpectedImages, check_images, find_expected, refuse_unknown_images
from der.pipeline.lockfile import LOCK, changes_since, read_lock
from der.pipeline.machine import describe_machine
from der.pipeline.params import read_params, read_text
from der.pipeline.paths import PARAMS, RAW, SUMMARY
from der.pipeline.presets import ORDERS, PLACES, list_orders, load_order, load_preset
from der.pipeline.provenance import check_training
from der.pipeline.published import RESULTS
from der.pipeline.records import Record, record_metrics
from der.pipeline.runs import read_steps
from der.pipeline.settings import load_settings, parse_settings
from der.pipeline.timing import read_times
from der.settings.experiment import Settings
from der.settings.protocol import ProtocolSettings
from der.settings.section import to_values
from der.summary.series import Summary, summarise

FREE = (*PLACES, "train.seed", "protocol.class_order")  # in which a run may differ from its preset


def record_run(name: str, clone: Path = Path()) -> str:
    """Write results/<preset>-<order>-seed<k>.json of the finished run in ``clone``.

    Presets and what is known of their images are those here, in the current directory. Raises UserError if
    the run is not of the preset: of other parameters or of other images.
    """
    preset, orders = load_preset(name), {order: list(load_order(order)) for order in list_orders()}
    expected = find_expected(preset)
    if not clone.is_dir():
        raise UserError(f"{clone}: there is no such directory; name the clone in which the stages ran")
    with chdir(clone):
        record = describe_run(name, preset, orders, expected)
    path = RESULTS / f"{name}-{record['class_order']}-seed{record['seed']}.json"
    write_json(path, record)
    metrics = record["metrics"]
    unknown = "" if record["seconds"] else "; no seconds of stages, which are known where they ran"
    return (
        f"{path}: average top-1 {metrics['average_top1']:.2f} %, last {metrics['last_top1']:.2f} %{unknown}"
    )


def describe_run(
    name: str, preset: Any, orders: dict[str, list[str]], expected: ExpectedImages | None
) -> Record:
    """The record of the run in the current directory; raises UserError if it is not of the preset."""
    settings = load_settings()
    check_preset(name, preset, settings, expected)
    summary: Summary = read_json(SUMMARY)
    check_steps(summary, settings)
    steps = read_steps()
    if summary != summarise(steps):
        raise UserError(f"{SUMMARY}: not of the steps in metrics/steps; run `dvc repro` first")
    check_training(len(steps), settings)
    check_stages()
    images = identify(RAW)
    if expected is not None:
        check_images(name, images, expected)
    return {
        "preset": name,
        "seed": settings.train.seed,
        "class_order": name_order(settings.protocol, orders),
        "revision": git_revision(),
        "machine": describe_machine(),
        "images": asdict(images),  # type: ignore[typeddict-item]
        "seconds": {stage: time.seconds for stage, time in read_times(stages_of(len(steps))).items()},
        "metrics": record_metrics(summary, steps),
    }


def check_preset(name: str, preset: Any, settings: Settings, expected: ExpectedImages | None) -> None:
    """Raise UserError unless ``settings`` are those of preset ``name``, seed and class order aside.

    Where the images come from is free if an identity is ``expected`` of them.
    """
    wanted = parse_settings(put_values(read_text(), preset))
    for change in compare(to_values(settings), to_values(wanted)):
        if change.key.startswith(FREE) or (expected is not None and expected.admits(change)):
            continue
        if change.key == "dataset.source":
            raise refuse_unknown_images(name, change)
        other = Change(f"{PARAMS}: not preset {name}, which changes {change.key}", change.old, change.new)
        raise UserError(f"{other}; run `der preset {name}`, then `dvc repro`")


def check_steps(summary: Summary, settings: Settings) -> None:
    """Raise UserError if ``summary`` is not of this protocol: of another run, or of an unfinished one."""
    found = [step["classes"] for step in summary["steps"].values()]
    names = [*map(str, find_source(settings.dataset).classes or range(found[-1]))]
    steps = plan_steps(names, replace(settings.protocol, class_order="alphabetical"))
    expected = [sum(map(len, steps[:step])) for step in range(1, len(steps) + 1)]
    if found != expected:
        raise UserError(
            f"{SUMMARY}: of {found} classes over the steps, but {PARAMS} has {expected}; "
            "run `dvc repro` first"
        )


def check_stages() -> None:
    """Raise UserError if DVC ran a stage with other parameters than params.yaml has.

    Where DVC ran none there is nothing to compare: `python -m stages` leaves no lock.
    """
    ran, parameters = read_lock(), read_params()
    for stage in ran:
        for change in changes_since(ran, stage, parameters):
            raise UserError(
                f"{LOCK}: {stage} ran with other parameters than {PARAMS} has, {change}; run `dvc repro` "
                "first, or `dvc commit -f` after `python -m stages`"
            )


def name_order(protocol: ProtocolSettings, orders: dict[str, list[str]]) -> str:
    """A short name for the order of the classes; raises UserError for a list that is none of ``orders``."""
    order = protocol.class_order
    if isinstance(order, str):
        return order
    if isinstance(order, int):
        return f"random{order}"
    if isinstance(order[0], int):
        return "random-list" + "-".join(map(str, order))
    for name, listed in orders.items():
        if listed == order:
            return name
    raise UserError(f"{PARAMS}: protocol.class_order is no list of {ORDERS}; add it there, under a name")


def git_revision() -> str:
    """The commit checked out, with "-dirty" if code differs from it; params.yaml is the preset's."""
    if not (revision := git("rev-parse", "HEAD").strip()):
        raise UserError("git: no revision found; run in a clone of the repository")
    return revision + ("-dirty" if git("status", "--porcelain", "--", *CODE).strip() else "")
