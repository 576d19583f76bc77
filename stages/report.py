"""report: the whole run as one HTML page."""

from der.project.page import make_page
from der.project.running_code import RunningCode
from der.project.stage import run_stage


def run(code: RunningCode) -> str:
    return make_page()


if __name__ == "__main__":
    run_stage("report", run)
