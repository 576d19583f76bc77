"""split: divide the data set over the steps of the protocol."""

from itertools import chain
from pathlib import Path

from der.core.errors import printable
from der.core.files import SealedDirectory, atomic_directory, link_or_copy, sealed_directory
from der.data.arrays import check_budget, class_file, list_classes, read_classes
from der.data.protocol import plan_steps
from der.pipeline import project
from der.pipeline.stage import Given, run_stage
from der.settings.sections import MemorySettings, ProtocolSettings

TRAIN, TAIL = project.RAW / "train", 10  # times as many images of one class as of another


def run(given: Given) -> str:
    steps = plan_steps(list_classes(TRAIN), given.section(ProtocolSettings, "protocol"))
    # Here, not after hours of training.
    check_budget(given.section(MemorySettings, "memory"), sum(map(len, steps)))
    project.check_chain(len(steps))
    with atomic_directory(project.TASKS) as directory:
        for step in range(1, project.chain_length() + 1):
            task = directory / str(step)
            if step <= len(steps):
                deal_out(task, steps[:step])
            else:
                project.mark_unused("split", step, task / "train", task / "test")
        given.confirm()
    sizes = ", ".join(str(len(names)) for names in steps)
    return f"split: {len(steps)} steps of {sizes} classes{describe_tail([*chain(*steps)])}"


def describe_tail(names: list[str]) -> str:
    """Tell of classes with very different numbers of training images, for top-1 hides the rare ones."""
    counts = sorted(
        (len(images), name) for images, name in zip(read_classes(TRAIN, names), names, strict=True)
    )
    (few, rare), (many, common) = counts[0], counts[-1]
    if many < TAIL * few:
        return ""
    return printable(f"; {few} training images of {rare}, {many} of {common}: judge by the mean over classes")


def deal_out(task: Path, steps: list[list[str]]) -> None:
    """Fill the folder of the last of ``steps``: its training images, and the test images of all steps."""
    for part, names in (("train", steps[-1]), ("test", [name for step in steps for name in step])):
        with sealed_directory(task / part, SealedDirectory(project.RAW / part).digests) as images:
            for name in map(class_file, names):
                link_or_copy(project.RAW / part / name, images / name)
            project.write_classes(images, steps)


if __name__ == "__main__":
    run_stage("split", run)
