"""report: the whole run as one HTML page; then, the last of all, the results as a table."""

from der.pipeline.page import make_page
from der.pipeline.running_code import RunningCode
from der.pipeline.runs import conclude
from der.pipeline.stage import run_stage


def run(code: RunningCode) -> str:
    return conclude(make_page())


if __name__ == "__main__":
    run_stage("report", run)
