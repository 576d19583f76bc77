"""The metrics of all steps of the protocol."""

from der.common.errors import UserError
from der.common.sealed import SealedDirectory
from der.evaluation.metrics import METRICS, StepMetrics
from der.project import paths
from der.project.chain import chain_length
from der.project.markers import is_unused


def read_steps() -> list[StepMetrics]:
    """Metrics of steps 1..T, T the protocol's last; raises UserError for a file that is missing or damaged.

    In the protocol's order and up to its end, never whatever else lies in the folder: a chain that was
    longer leaves its last steps behind.
    """
    steps: list[StepMetrics] = []
    for step in range(1, chain_length() + 1):
        path = paths.evaluation(step)
        if not path.exists():
            raise UserError(f"{path}: no metrics; run `dvc repro`")
        if is_unused(path):
            break
        metrics = SealedDirectory(path).read_json(METRICS)
        if not isinstance(metrics, dict) or not metrics.keys() >= StepMetrics.__required_keys__:
            raise UserError(f"{path / METRICS}: no metrics of a step; run the step's evaluation again")
        steps.append(metrics)  # type: ignore[arg-type]
    return steps
