"""report: write the run as one HTML page, and print the table of results at the end."""

from der.core.errors import UserError
from der.pipeline import project
from der.pipeline.dvc import forget_misrecorded
from der.pipeline.page import make_page
from der.pipeline.runs import conclude
from der.pipeline.stage import Given, run_stage
from der.settings.experiment import Settings


def run(given: Given) -> str:
    if sentences := forget_misrecorded():
        raise UserError(f"{'; '.join(sentences)}: run `dvc repro` again")
    return conclude(make_page(project.parse_section(Settings, given.parameters, project.PARAMS)))


if __name__ == "__main__":
    run_stage("report", run)
