"""results/*.json: the records of finished runs of presets."""

from typing import TypedDict

from der.core.errors import UserError
from der.core.serialization import read_json
from der.evaluation.metrics import StepMetrics
from der.pipeline.machine import Machine
from der.pipeline.presets import list_presets
from der.pipeline.published import PUBLISHED, RESULTS
from der.summary.series import StepSummary, Summary


class StepRecord(StepSummary):
    """What is kept of one step's metrics."""

    per_step: dict[str, float] | None  # top-1 by the step that brought the class; None if it was not kept


class RecordMetrics(Summary):
    """metrics/summary.json, with more of every step."""

    steps: dict[str, StepRecord]  # type: ignore[misc]


class ImagesRecord(TypedDict):
    """The images that were taught, see der.data.protocol."""

    sha256: str
    classes: int
    train: int
    test: int


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


Runs = dict[str, list[Record]]  # preset -> its records


def record_metrics(summary: Summary, steps: list[StepMetrics]) -> RecordMetrics:
    """What a record keeps of a summary and of the metrics of steps 1..T that it sums up."""
    kept: dict[str, StepRecord] = {
        name: {**row, "per_step": step["per_step"]}
        for (name, row), step in zip(summary["steps"].items(), steps, strict=True)
    }
    return {**summary, "steps": kept}


def read_records() -> Runs:
    """The records in results/ by preset, none for one that was not run.

    Raises UserError for a file that is no record, or one of a preset that is no more.
    """
    runs: Runs = {name: [] for name in list_presets()}
    for path in sorted(RESULTS.glob("*.json")):
        if path == PUBLISHED:
            continue
        record = read_json(path)
        if not isinstance(record, dict) or record.keys() != Record.__required_keys__:
            raise UserError(f"{path}: no record of a run; write it with `der record`, or remove the file")
        if record["preset"] not in runs:
            raise UserError(f"{path}: {record['preset']} is no preset; rename it there, or remove the file")
        runs[record["preset"]].append(record)  # type: ignore[arg-type]
    return runs
