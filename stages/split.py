"""split: the data set dealt out over the steps of the protocol."""

from pathlib import Path

from der.core.files import atomic_directory, link_or_copy
from der.core.sealed import SealedDirectory, sealed_directory
from der.data.arrays import check_budget, class_file, list_classes
from der.data.protocol import plan_steps
from der.pipeline.params import load_section
from der.pipeline.paths import RAW, TASKS, chain_length, check_chain, mark_unused, write_classes
from der.pipeline.stage import Given, run_stage
from der.settings.sections import MemorySettings, ProtocolSettings


def run(given: Given) -> str:
    steps = plan_steps(list_classes(RAW / "train"), load_section(ProtocolSettings, "protocol"))
    # Here, not after hours of training.
    check_budget(load_section(MemorySettings, "memory"), sum(map(len, steps)))
    check_chain(len(steps))
    with atomic_directory(TASKS) as directory:
        for step in range(1, chain_length() + 1):
            task = directory / str(step)
            if step <= len(steps):
                deal_out(task, steps[:step])
            else:
                mark_unused("split", step, task / "train", task / "test")
        given.confirm()
    sizes = ", ".join(str(len(names)) for names in steps)
    return f"split: {len(steps)} steps of {sizes} classes"


def deal_out(task: Path, steps: list[list[str]]) -> None:
    """Fill the folder of the last of ``steps``: its training images, and the test images of all steps."""
    for part, names in (("train", steps[-1]), ("test", [name for step in steps for name in step])):
        with sealed_directory(task / part, SealedDirectory(RAW / part).digests) as images:
            for name in map(class_file, names):
                link_or_copy(RAW / part / name, images / name)
            write_classes(images, steps)


if __name__ == "__main__":
    run_stage("split", run)
