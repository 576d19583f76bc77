"""The images of data/raw dealt out over the steps of the protocol, as directories that hold all of a step."""

from pathlib import Path

from der.core.files import link_or_copy
from der.core.sealed import SealedDirectory, sealed_directory
from der.data.arrays import class_file
from der.pipeline.markers import mark_unused
from der.pipeline.paths import RAW
from der.pipeline.tasks import write_classes


def deal_out(steps: list[list[str]], length: int, directory: Path) -> None:
    """Fill ``directory`` with a folder for each step up to ``length``, markers past the last of ``steps``."""
    for step in range(1, length + 1):
        task = directory / str(step)
        if step <= len(steps):
            write_task(task, steps[:step])
        else:
            mark_unused("split", step, task / "train", task / "test")


def write_task(directory: Path, steps: list[list[str]]) -> None:
    """The last of ``steps``: its classes' training images, the test images of all classes seen."""
    for part, names in (("train", steps[-1]), ("test", [name for step in steps for name in step])):
        with sealed_directory(directory / part, SealedDirectory(RAW / part).digests) as images:
            for name in map(class_file, names):
                link_or_copy(RAW / part / name, images / name)
            write_classes(images, steps)
