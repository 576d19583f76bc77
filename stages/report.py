"""report: write the run as one HTML page, and print the table of results at the end."""

from der.core import errors, files
from der.pipeline import project
from der.pipeline.dvc import forget_misrecorded
from der.pipeline.environment import scratch_root
from der.pipeline.page import make_page
from der.pipeline.runs import conclude
from der.pipeline.stage import Given, run_stage
from der.settings.experiment import Settings
from der.train.resume import remove_finished


def run(given: Given) -> str:
    if sentences := forget_misrecorded():
        raise errors.UserError(f"{'; '.join(sentences)}: run `dvc repro` again")
    for step in filter(project.is_compressed, range(1, project.chain_length() + 1)):
        remove_finished(scratch_root(), files.SealedDirectory(project.compressed(step)).digest)
    return conclude(make_page(project.parse_section(Settings, given.parameters, project.PARAMS)))


if __name__ == "__main__":
    run_stage("report", run)
