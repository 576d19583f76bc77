"""report: write the run as one HTML page, and print the table of results at the end."""

from der.pipeline.page import make_page
from der.pipeline.runs import conclude
from der.pipeline.stage import Given, run_stage


def run(given: Given) -> str:
    return conclude(make_page())


if __name__ == "__main__":
    run_stage("report", run)
