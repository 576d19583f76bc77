"""split: the data set dealt out over the steps of the protocol."""

from pathlib import Path

from der.common.errors import UserError
from der.common.files import link_or_copy, whole_directory, write_json
from der.data.class_arrays import class_path, list_classes
from der.data.protocol import plan_steps
from der.memory.exemplars import check_budget
from stages.common.command import run_stage
from stages.common.params import load_settings
from stages.common.paths import RAW, TASKS
from stages.common.unused import chain_length, mark_unused


def write_task(directory: Path, steps: list[list[str]]) -> None:
    """The last of ``steps``: its classes' training images, the test images of all classes seen."""
    for part, names in (("train", steps[-1]), ("test", [name for step in steps for name in step])):
        (directory / part).mkdir(parents=True)
        for name in names:
            link_or_copy(class_path(RAW / part, name), class_path(directory / part, name))
    write_json(directory / "classes.json", {"steps": steps})


def run() -> str:
    settings = load_settings()
    names = list_classes(RAW / "train")
    if not names:
        raise UserError(f"{RAW / 'train'}: holds no classes; run `dvc repro`")
    steps = plan_steps(names, settings.protocol)
    check_budget(settings.memory, sum(map(len, steps)))  # here, not after hours of training
    length = chain_length()
    if len(steps) > length:
        raise UserError(
            f"protocol: {len(steps)} steps, but chain.yaml holds {length}; "
            f"run `python -m stages.chain {len(steps)}` first"
        )
    with whole_directory(TASKS) as directory:
        for number in range(1, length + 1):
            task = directory / str(number)
            if number <= len(steps):
                write_task(task, steps[:number])
            else:
                mark_unused("split", number, task / "train", task / "test", task / "classes.json")
    sizes = ", ".join(str(len(step)) for step in steps)
    return f"split: {len(steps)} steps of {sizes} classes"


if __name__ == "__main__":
    run_stage(run)
