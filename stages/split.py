"""split: divide the data set over the steps of the protocol."""

from collections import Counter
from itertools import chain
from pathlib import Path

from der.core.errors import printable
from der.core.files import SealedDirectory, atomic_directory, link_or_copy, sealed_directory
from der.data.arrays import check_budget, class_file, every_row, list_classes, read_classes, write_images
from der.data.protocol import arriving, plan_steps
from der.pipeline import project
from der.pipeline.stage import Given, run_stage
from der.settings.sections import MemorySettings, ProtocolSettings

TRAIN, TAIL = project.RAW / "train", 10  # times as many images of one class as of another


def run(given: Given) -> str:
    found = list_classes(TRAIN)
    steps = plan_steps(found, given.section(ProtocolSettings, "protocol"))
    names = [name for step in steps for name in step]
    # Here, not after hours of training.
    check_budget(given.section(MemorySettings, "memory"), len(names))
    project.check_chain(len(steps))
    training = arriving(found, steps)
    with atomic_directory(project.TASKS) as directory:
        for step in range(1, project.chain_length() + 1):
            task = directory / str(step)
            if step <= len(steps):
                tests = {name: [name] for classes in steps[:step] for name in classes}
                deal_out("train", training[step - 1], task / "train", steps[:step])
                deal_out("test", tests, task / "test", steps[:step])
            else:
                project.mark_unused("split", step, task / "train", task / "test")
        given.confirm()
    sizes = ", ".join(str(len(names)) for names in steps)
    return f"split: {len(steps)} steps of {sizes} classes{describe_tail(training)}"


def describe_tail(training: list[dict[str, list[str]]]) -> str:
    """Tell of classes with very different numbers of training images, for top-1 hides the rare ones."""
    found = Counter[str]()
    for name, several in chain(*map(dict.items, training)):
        found[name] += sum(map(len, read_classes(TRAIN, several)))
    (common, many), (rare, few) = found.most_common()[0], found.most_common()[-1]
    if many < TAIL * few:
        return ""
    return printable(f"; {few} training images of {rare}, {many} of {common}: judge by the mean over classes")


def deal_out(part: str, names: dict[str, list[str]], directory: Path, steps: list[list[str]]) -> None:
    """Fill a step's folder with the images of each class, which come under one or more ``names``."""
    raw = project.RAW / part
    digests = SealedDirectory(raw).digests
    whole = {class_file(name): class_file(one[0]) for name, one in names.items() if len(one) == 1}
    with sealed_directory(directory, {name: digests[one] for name, one in whole.items()}) as images:
        for file, one in whole.items():
            link_or_copy(raw / one, images / file)
        for name, several in names.items():
            if len(several) > 1:
                write_images(images / class_file(name), every_row(read_classes(raw, several)))
        project.write_classes(images, steps)


if __name__ == "__main__":
    run_stage("split", run)
