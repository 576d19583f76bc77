"""Records of finished runs of presets, results/*.json: how one is made, and how they are read."""

import json
from contextlib import chdir
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Any, TypedDict

from der.core.errors import UserError
from der.core.files import SealedDirectory, read_json, write_json
from der.data.arrays import list_classes
from der.data.protocol import identify, plan_steps
from der.evaluation.results import METRICS, StepMetrics
from der.pipeline.environment import Machine, describe_machine
from der.pipeline.inputs import IDENTITIES, find_expected
from der.pipeline.presets import ORDERS, PRESETS, list_orders, list_presets, load_preset, load_settings
from der.pipeline.project import (
    PARAMS,
    RAW,
    SUMMARY,
    Change,
    compare,
    compression,
    is_compressed,
    read_params,
    stages_of,
    value_at,
)
from der.pipeline.provenance import check_training, git, is_code_changed, shown_parameters
from der.pipeline.runs import PUBLISHED, RESULTS, read_steps
from der.pipeline.timing import read_times
from der.settings.experiment import Settings, read_order
from der.settings.parsing import parse_yaml
from der.settings.sections import SPLITS, ProtocolSettings
from der.summary.series import StepSummary, Summary, summarise

LOCK = Path("dvc.lock")
FREE = ("train.seed", "protocol.class_order", "compress.steps")  # in which a run may differ from its preset


class StepRecord(StepSummary):
    """What is kept of one step's metrics."""

    per_step: dict[str, float] | None  # top-1 by the step that brought the class; None if it was not kept


class RecordMetrics(Summary):
    """metrics/summary.json, with more of every step."""

    steps: dict[str, StepRecord]  # type: ignore[misc]


class ImagesRecord(TypedDict):
    """The images that were taught, see der.data.identity."""

    sha256: str
    classes: int
    train: int
    test: int


class CompressedRecord(TypedDict):
    """What is kept of a step's network that was compressed into one extractor."""

    top1: float
    top5: float
    nme_top1: float
    parameters: int


class Record(TypedDict):
    """One run."""

    preset: str
    seed: int
    class_order: str
    revision: str  # of the code that ran, with "-dirty" if it was not committed
    machine: Machine
    images: ImagesRecord | None  # None if it was not kept
    seconds: dict[str, float]  # by stage, of those whose time is known
    metrics: RecordMetrics
    compressed: dict[str, CompressedRecord]  # by step, of those that were compressed


Runs = dict[str, list[Record]]  # preset -> its records


def read_records() -> Runs:
    """Read the records in results/ by preset, none for one that was not run."""
    runs: Runs = {name: [] for name in list_presets()}
    for path in sorted(RESULTS.glob("*.json")):
        if path == PUBLISHED:
            continue
        record = read_json(path)
        if not isinstance(record, dict) or record.keys() != Record.__required_keys__:
            raise UserError(f"{path}: no record of a run; remove the file")
        if record["preset"] not in runs:
            raise UserError(f"{path}: {record['preset']} is no preset; rename it there, or remove the file")
        runs[record["preset"]].append(record)  # type: ignore[arg-type]
    return runs


def record_run(name: str, clone: Path = Path()) -> str:
    """Write results/<preset>-<order>-seed<k>.json of the finished run in ``clone``; returns a sentence.

    Presets and what is known of their images are those here, in the current directory. Raises UserError if
    the run is not of the preset: of other parameters or of other images.
    """
    preset = json.loads(json.dumps(load_preset(name)))  # plain values, as settings have
    orders = {order: read_order(order, PRESETS) for order in list_orders()}
    expected = find_expected(preset)
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
    name: str, preset: Any, orders: dict[str, list[str]], expected: dict[str, Any] | None
) -> Record:
    """Make the record of the run in the current directory; raises UserError if it is not of the preset."""
    settings, steps = load_settings(), read_steps()
    check_parameters(name, preset, settings, expected)
    if read_json(SUMMARY) != summarise(steps):
        raise UserError(f"{SUMMARY}: not of the steps in metrics/steps; run `dvc repro` first")
    planned = plan_steps(list_classes(RAW / SPLITS[0]), settings.protocol)
    found, wanted = [step["classes"] for step in steps], [*accumulate(map(len, planned))]
    if found != wanted:
        raise UserError(f"{SUMMARY}: of {found} classes over the steps, not {wanted}; run `dvc repro` first")
    check_training(len(steps), settings)
    stages = stages_of(len(steps))
    check_lock(stages)
    images = identify(RAW)
    if expected is not None and images.sha256 != expected["sha256"]:
        raise UserError(
            f"{RAW}: not the images of preset {name}, {expected['dataset']['source']}'s, but {images.train} "
            f"training and {images.test} test images of {images.classes} classes with SHA-256 "
            f"{images.sha256[:12]}..., not {expected['sha256'][:12]}..."
        )
    return {
        "preset": name,
        "seed": settings.train.seed,
        "class_order": name_order(settings.protocol, orders),
        "revision": find_revision(),
        "machine": describe_machine(),
        "images": asdict(images),  # type: ignore[typeddict-item]
        "seconds": {stage: time.seconds for stage, time in read_times(stages).items()},
        "metrics": record_metrics(steps),
        "compressed": {
            str(step): keep_compressed(step) for step in range(1, len(steps) + 1) if is_compressed(step)
        },
    }


def check_parameters(name: str, preset: Any, settings: Settings, expected: dict[str, Any] | None) -> None:
    """Raise UserError unless ``settings`` are those of preset ``name``, seed and class order aside.

    Where the images come from is free if an identity is ``expected`` of them.
    """
    for change in compare(shown_parameters(settings), preset):
        section, _, key = change.key.partition(".")
        known = expected is not None and (key == "source" or key not in expected["dataset"])
        if change.key in FREE or (section == "dataset" and known):  # an identity says which images these are
            continue
        other = Change(f"{PARAMS}: not preset {name}, which changes {change.key}", change.old, change.new)
        if change.key == "dataset.source":
            raise UserError(f"{other}, and {IDENTITIES} knows no images to compare with")
        raise UserError(f"{other}; run `der preset {name}`, then `dvc repro`")


def check_lock(stages: list[str]) -> None:
    """Raise UserError if DVC ran one of ``stages`` with other parameters than params.yaml has.

    Where DVC ran none there is nothing to compare: `python -m stages` leaves no lock.
    """
    if not LOCK.exists():
        return
    ran, parameters = parse_yaml(LOCK.read_text(encoding="utf-8"), LOCK)["stages"], read_params()
    for stage in stages:
        for key, value in ran.get(stage, {}).get("params", {}).get(str(PARAMS), {}).items():
            for change in compare(value, value_at(parameters, key), key):
                raise UserError(
                    f"{LOCK}: {stage} ran with other parameters than {PARAMS} has, {change}; run `dvc repro` "
                    "first, or `dvc commit -f` after `python -m stages`"
                )


def name_order(protocol: ProtocolSettings, orders: dict[str, list[str]]) -> str:
    """Give the order of the classes a short name; raises UserError for a list that is none of ``orders``."""
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


def find_revision() -> str:
    """Name the commit checked out, with "-dirty" if code differs from it; params.yaml is the preset's."""
    if not (revision := git("rev-parse", "HEAD").decode().strip()):
        raise UserError("git: no revision found; run in a clone of the repository")
    return revision + ("-dirty" if is_code_changed() else "")


def keep_compressed(step: int) -> CompressedRecord:
    """Return what a record keeps of the compressed network of ``step``."""
    own = SealedDirectory(compression(step)).read_json(METRICS)["compressed"]
    return {
        "top1": own["top1"],
        "top5": own["top5"],
        "nme_top1": own["nme"]["top1"],
        "parameters": own["parameters"],
    }


def record_metrics(steps: list[StepMetrics]) -> RecordMetrics:
    """Return what a record keeps of the metrics of steps 1..T: their summary, and top-1 by steps' classes."""
    summary = summarise(steps)
    kept: dict[str, StepRecord] = {
        name: {**row, "per_step": step["per_step"]}
        for (name, row), step in zip(summary["steps"].items(), steps, strict=True)
    }
    return {**summary, "steps": kept}
