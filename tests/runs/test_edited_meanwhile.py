"""Edits while `dvc repro` runs: results are never recorded as made of anything but what they were made of.

DVC records parameters and dependencies as they are when a stage has ended.
"""

import random
import shutil
import subprocess
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from tests.runs.lab import IMAGES, RESULTS, Pipeline, Repro
from tests.runs.test_plan import VALUES

# Chooses exemplars, and edits the project while it does: what EDIT holds is done once.
SELECTION = """
from pathlib import Path
import numpy as np

def select(features, count, settings, name):
    edit = Path("edit.py")
    if edit.exists():
        code = edit.read_text()
        edit.unlink()
        exec(code)
    return np.arange(count)
"""
# DVC, with edits between the end of a stage and the moment at which DVC looks at its parameters and images.
DVC_AND_EDITS = """
import sys
from pathlib import Path
from dvc.cli import main
from dvc.stage import PipelineStage

save = PipelineStage.save

def edit_and_save(stage, *args, **options):
    exec({edits}.get(stage.addressing, ""))
    return save(stage, *args, **options)

PipelineStage.save = edit_and_save
sys.exit(main(["repro"]))
"""
ADD_AN_IMAGE = 'import shutil; shutil.copyfile("data/images/train/ant/0.png", "data/images/train/bee/9.png")'


def rewrite(key: str, old: str, new: str) -> str:
    """A line of Python that edits params.yaml."""
    return f"""p = Path("params.yaml"); p.write_text(p.read_text().replace("{key}: {old}", "{key}: {new}"))"""


STAGE = "build_memory@1"


def exemplars(pipeline: Pipeline) -> int:
    """How many the memory holds after step 1."""
    return len(np.load(pipeline.root / "data/memory/1/labels.npy"))


def test_a_stage_whose_parameters_are_edited_leaves_nothing(pipeline: Pipeline) -> None:
    (pipeline.root / "src/own.py").write_text(SELECTION, encoding="utf-8")
    pipeline.edit(memory__selection="own:select")
    pipeline.repro(STAGE)
    pipeline.edit(memory__budget=10)
    (pipeline.root / "edit.py").write_text(rewrite("budget", "10", "12"), encoding="utf-8")
    done = pipeline.command("dvc", "repro", STAGE)
    said = f"error: {STAGE}: edited while it ran: params.yaml: memory.budget: 10 -> 12. It left nothing;"
    assert done.returncode and said in done.stderr
    assert not (pipeline.root / "data/memory/1").exists()
    # What it does not depend on may be edited meanwhile.
    (pipeline.root / "edit.py").write_text(rewrite("group_labels", "10", "20"), encoding="utf-8")
    assert STAGE in pipeline.repro(STAGE).run and exemplars(pipeline) == 12
    assert not (pipeline.root / "edit.py").exists()


SEEN_BY_DVC_ALONE = (
    ("download", ADD_AN_IMAGE, "data/images as it is now, but that was edited meanwhile"),
    (STAGE, rewrite("budget", "8", "12"), "memory.budget 12, but it was 8"),
)


def test_edits_that_dvc_alone_sees_are_told_and_not_taken_from_the_cache(pipeline: Pipeline) -> None:
    """By whoever has the lock and the cache: a clone, or the same one after an edit and back."""

    def images(pipeline: Pipeline) -> int:
        """How many of the class with the image that is added."""
        return sum(len(np.load(pipeline.root / f"data/raw/{split}/bee.npy")) for split in ("train", "test"))

    pipeline.edit(dataset__seed=1)  # all stages run
    script = DVC_AND_EDITS.format(edits={stage: edit for stage, edit, _ in SEEN_BY_DVC_ALONE})
    pipeline.with_dvc(script.replace('["repro"]', f'["repro", "{STAGE}"]'))
    wrong = [f"{stage}: dvc.lock says that it was made of {what}" for stage, _, what in SEEN_BY_DVC_ALONE]
    told = (
        pipeline.der("show"),
        pipeline.command("python", "-m", "der", "verify", PYTHONPATH="src").stdout,
        pipeline.command("python", "-m", "der", "report", PYTHONPATH="src").stderr,
    )
    assert all(sentence in text for text in told for sentence in wrong), told
    assert (exemplars(pipeline), images(pipeline)) == (8, IMAGES)
    clone = pipeline.copy_to(pipeline.root.with_name("clone"))
    for directory in RESULTS:
        shutil.rmtree(clone.root / directory)
    stages = {stage for stage, *_ in SEEN_BY_DVC_ALONE}
    assert stages <= set(clone.repro(STAGE).run)
    assert (exemplars(clone), images(clone)) == (12, IMAGES + 1)
    # Stage report, which a `dvc repro` ends with, tells it and has the next one make them again.
    done = pipeline.command("dvc", "repro", "--single-item", "report")
    assert done.returncode and all(sentence in done.stderr for sentence in wrong)
    # What was made of 8, without the image, is not in DVC's cache of runs as made of 12, either.
    (pipeline.root / "data/images/train/bee/9.png").unlink()
    pipeline.edit(memory__budget=8)
    assert stages <= set(pipeline.repro(STAGE).run)
    pipeline.edit(memory__budget=12)
    assert STAGE in pipeline.repro(STAGE).run and (exemplars(pipeline), images(pipeline)) == (12, IMAGES)
    assert pipeline.repro(STAGE) == Repro([], [])


CHANGED = sorted(VALUES.keys() - {"protocol.later_classes", "protocol.steps"})  # the steps fit the chain
DISTURBED = 10  # runs in a test


def edit_at_random(pipeline: Pipeline, draw: random.Random) -> str:
    """Change a value or an image, as an editor does, in one write."""
    if draw.random() < 0.7:
        key = draw.choice(CHANGED)
        value = draw.choice(VALUES[key])
        with suppress(FileNotFoundError):
            pipeline.edit(**{key.replace(".", "__"): value})
        return f"{key}={value}"
    folder = pipeline.root / "data/images/train" / draw.choice(("ant", "bee", "cat", "dog"))
    file = folder / f"{draw.randrange(10)}.png"
    if file.exists() and len([*folder.iterdir()]) > 5 and draw.random() < 0.5:
        file.unlink()
        return f"-{file.name}"
    pixels = np.random.RandomState(draw.randrange(1000)).randint(0, 100, (8, 8)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / ".written", "png")
    (folder / ".written").replace(file)
    return f"+{file.name}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many disturbed runs as --torture asks for, some in each test."""
    if "number" in metafunc.fixturenames:
        count = metafunc.config.getoption("torture") or 0
        metafunc.parametrize("number", range(-(-count // DISTURBED)))


@pytest.mark.torture
def test_whatever_is_edited_whenever_the_next_run_puts_right(number: int, pipeline: Pipeline) -> None:
    draw = random.Random(number)
    for turn in range(DISTURBED):
        done: list[str] = [edit_at_random(pipeline, draw)]
        line = [pipeline.python, "-m", "dvc", "repro"]
        with subprocess.Popen(
            line,
            cwd=pipeline.root,
            env=pipeline.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as repro:
            for _ in range(draw.randint(1, 4)):
                with suppress(subprocess.TimeoutExpired):
                    repro.wait(draw.uniform(0, 4))
                done.append(edit_at_random(pipeline, draw))
            assert repro.stdout is not None
            repro.stdout.read()
        pipeline.repro()
        assert pipeline.results() == pipeline.from_scratch(), (number, turn, done)
