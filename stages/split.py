"""split: the data set dealt out over the steps of the protocol."""

from pathlib import Path

from der.common.atomic import atomic_directory
from der.common.filesystem import link_or_copy
from der.common.sealed import SealedDirectory, sealed_directory
from der.data.class_arrays import class_file, list_classes
from der.data.protocol import plan_steps
from der.memory.budget import check_budget
from der.project.chain import chain_length, check_chain
from der.project.markers import mark_unused
from der.project.params import load_section
from der.project.paths import RAW, TASKS
from der.project.running_code import RunningCode
from der.project.stage import run_stage
from der.project.tasks import write_classes
from der.settings.memory import MemorySettings
from der.settings.protocol import ProtocolSettings


def write_task(directory: Path, steps: list[list[str]]) -> None:
    """The last of ``steps``: its classes' training images, the test images of all classes seen."""
    for part, names in (("train", steps[-1]), ("test", [name for step in steps for name in step])):
        with sealed_directory(directory / part, SealedDirectory(RAW / part).digests) as images:
            for name in map(class_file, names):
                link_or_copy(RAW / part / name, images / name)
            write_classes(images, steps)


def run(code: RunningCode) -> str:
    names = list_classes(RAW / "train")
    steps = plan_steps(names, load_section(ProtocolSettings, "protocol"))
    # Here, not after hours of training.
    check_budget(load_section(MemorySettings, "memory"), sum(map(len, steps)))
    check_chain(len(steps))
    with atomic_directory(TASKS) as directory:
        for step in range(1, chain_length() + 1):
            task = directory / str(step)
            if step <= len(steps):
                write_task(task, steps[:step])
            else:
                mark_unused("split", step, task / "train", task / "test")
        code.confirm()
    sizes = ", ".join(str(len(names)) for names in steps)
    return f"split: {len(steps)} steps of {sizes} classes"


if __name__ == "__main__":
    run_stage("split", run)
