"""download: the data set as one array per class."""

from der.common.files import whole_directory
from der.data.sources.download import download
from stages.common.command import run_stage
from stages.common.params import load_settings
from stages.common.paths import RAW


def run() -> str:
    settings = load_settings().dataset
    with whole_directory(RAW) as directory:
        counts = download(settings, directory)
    return (
        f"download: {counts.train} training and {counts.test} test images "
        f"of {counts.classes} classes ({settings.source})"
    )


if __name__ == "__main__":
    run_stage(run)
