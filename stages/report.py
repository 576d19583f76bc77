"""report: the whole run as one HTML page; then, the last of all, the results as a table."""

from der.project.overview import conclude
from der.project.page import make_page
from der.project.running_code import RunningCode
from der.project.stage import run_stage


def run(code: RunningCode) -> str:
    return conclude(make_page())


if __name__ == "__main__":
    run_stage("report", run)
