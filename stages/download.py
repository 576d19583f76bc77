"""download: the data set as one array per class."""

from pathlib import Path

from der.core.files import atomic_directory
from der.data.sources.registry import download, find_source
from der.pipeline import project
from der.pipeline.inputs import keep_files_of_classes, list_files_of_classes
from der.pipeline.stage import Given, run_stage
from der.settings.sections import DatasetSettings


def run(given: Given) -> str:
    settings = project.with_side(given.section(DatasetSettings, "dataset"))
    files = list_files_of_classes(settings)  # before they are read: what changes meanwhile counts as changed
    if find_source(settings).classes is None:  # else it reads none of the user's files
        given.reads(Path(settings.path))
    with atomic_directory(project.RAW) as directory:
        counts = download(settings, directory)
        given.confirm()
    keep_files_of_classes(files)
    others = f"; skipped, by name not pictures: {counts.passed_over}" if counts.passed_over else ""
    return (
        f"download: {counts.train} training and {counts.test} test images "
        f"of {counts.classes} classes ({settings.source}){others}"
    )


if __name__ == "__main__":
    run_stage("download", run)
