"""summarize: all steps together, as one metrics file, tables and plots."""

from der.summary.write import write_summary
from stages.common import paths
from stages.common.command import run_stage
from stages.common.params import load_settings
from stages.steps import read_steps


def run() -> str:
    load_settings()
    steps = read_steps()
    logs = [paths.training_log(number) for number in range(1, len(steps) + 1)]
    summary = write_summary(steps, paths.confusion(len(steps)), logs, paths.SUMMARY, paths.PLOTS)
    return (
        f"summarize: {len(steps)} steps, average incremental accuracy {summary['average_top1']:.2f} %, "
        f"last {summary['last_top1']:.2f} %"
    )


if __name__ == "__main__":
    run_stage(run)
