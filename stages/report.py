"""report: the whole run as one HTML page; then, the last of all, the results as a table."""

from der.core.errors import UserError
from der.pipeline import project
from der.pipeline.dvc import forget_misrecorded
from der.pipeline.page import make_page
from der.pipeline.runs import conclude
from der.pipeline.stage import Given, run_stage
from der.settings.experiment import Settings


def run(given: Given) -> str:
    if sentences := forget_misrecorded():
        raise UserError("; ".join(sentences))
    return conclude(make_page(project.parse_section(Settings, given.parameters, project.PARAMS)))


if __name__ == "__main__":
    run_stage("report", run)
