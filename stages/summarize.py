"""summarize: all steps together, as one metrics file, tables and plots."""

from der.common.errors import UserError
from der.common.files import read_json
from der.evaluation.metrics import StepMetrics
from der.summary.write import write_summary
from stages.common import paths
from stages.common.command import run_stage
from stages.common.params import load_settings
from stages.common.unused import MARK, chain_length


def run() -> str:
    load_settings()
    # In the protocol's order and up to its end, never whatever else lies in the folder: a chain that was
    # longer leaves its last steps behind.
    steps: list[StepMetrics] = []
    for number in range(1, chain_length() + 1):
        if not paths.step_metrics(number).exists():
            raise UserError(f"{paths.step_metrics(number)}: no metrics; run `dvc repro`")
        metrics = read_json(paths.step_metrics(number))
        if metrics == MARK:
            break
        steps.append(metrics)
    logs = [paths.training_log(number) for number in range(1, len(steps) + 1)]
    summary = write_summary(steps, paths.confusion(len(steps)), logs, paths.SUMMARY, paths.PLOTS)
    return (
        f"summarize: {len(steps)} steps, average incremental accuracy {summary['average_top1']:.2f} %, "
        f"last {summary['last_top1']:.2f} %"
    )


if __name__ == "__main__":
    run_stage(run)
