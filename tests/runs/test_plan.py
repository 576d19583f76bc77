"""`der plan` names every stage that the next `dvc repro` runs, whatever happened before: a random walk.

It may name more. The walk edits parameters, code and images, adds classes, loses and damages results, objects
of the cache and dvc.lock, and ends runs at the moments at which DVC's records and the files disagree.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runs.killing import started
from tests.runs.lab import Pipeline, listed, write_images

TURNS = 10  # in a test of a long walk
VALUES: dict[str, list[Any]] = {
    "dataset.test_fraction": [0.25, 0.5],
    "dataset.seed": [0, 1],
    "protocol.class_order": ["alphabetical", 0, 1],
    "protocol.first_classes": [2, 3],
    "protocol.later_classes": [1, 2],
    "protocol.steps": [None, [["ant", "bee"], ["cat"]], [["ant", "bee"], ["dog", "cat"]]],
    "network.inherit_head": [True, False],
    "network.head_bias": [True, False],
    "train.seed": [0, 1],
    "train.base.learning_rate": [0.1, 0.05],
    "train.incremental.learning_rate": [0.1, 0.05],
    "memory.budget": [8, 9, 12],
    "memory.selection": ["herding", "random"],
    "evaluate.group_labels": [1, 10],
}
LOST = (
    *("data", "data/raw", "data/tasks", "data/tasks/1", "data/checkpoints", "data/checkpoints/1"),
    *("data/memory/2", "data/memory/0", "data/fingerprints", "data/input.json", "data/made_of", "metrics"),
    *("metrics/steps/1", "metrics/training/2", "metrics/summary.json", "metrics/plots", "dvc.lock"),
)
CODE = (
    *("stages/check.py", "stages/download.py", "stages/split.py", "stages/build_memory.py"),
    *("src/der/memory.py", "src/der/evaluation/metrics.py", "src/der/train/step.py"),
)
# DVC, which ends as by SIGKILL when the outputs of a stage are removed, when they are there, or when they are
# recorded; or params.yaml is edited before DVC looks at it, and then it ends.
ENDED = """
import os, sys
from pathlib import Path
from dvc.cli import main
from dvc.stage import PipelineStage

def at_the_last(method, before, after, stages):
    left, usual = [stages], getattr(PipelineStage, method)
    def patched(stage, *args, **options):
        left[0] -= 1
        if not left[0]:
            before()
        done = usual(stage, *args, **options)
        if not left[0]:
            after()
        return done
    setattr(PipelineStage, method, patched)

def nothing():
    pass

def end():
    sys.stdout.flush()
    os._exit(137)

def edit():
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("budget: 8", "budget: 13").replace("labels: 10", "labels: 2"))

moments = {
    "removed": [("remove_outs", nothing, end)],
    "left": [("save", end, nothing)],
    "recorded": [("dump", nothing, end)],
    "edited": [("save", edit, nothing), ("dump", nothing, end)],
}
for moment in moments[sys.argv[1]]:
    at_the_last(*moment, int(sys.argv[2]))
sys.exit(main(["repro"]))
"""
MOMENTS = ("removed", "left", "recorded", "edited")
RUNNING = re.compile(r"^Running stage '(.+)':$", re.MULTILINE)


def edit(pipeline: Pipeline, draw: random.Random) -> str:
    key = draw.choice(sorted(VALUES))
    value = draw.choice(VALUES[key])
    pipeline.edit(**{key.replace(".", "__"): value})
    return f"{key}={value}"


def edit_code(pipeline: Pipeline, draw: random.Random) -> str:
    path = draw.choice(CODE)
    pipeline.add_code(path, line=draw.choice(("# A remark", "assert True")))
    return f"code {path}"


def edit_images(pipeline: Pipeline, draw: random.Random) -> str:
    folder = draw.choice(sorted((pipeline.root / "data/images/train").iterdir()))
    files = sorted(folder.iterdir())
    file, other = draw.sample(files, 2)
    how = draw.choice(("removed", "exchanged", "added", "touched"))
    if how == "removed" and len(files) > 5:
        file.unlink()
    elif how == "exchanged":
        file.rename(folder / "between")
        other.rename(file)
        (folder / "between").rename(other)
    elif how == "added":
        pixels = np.random.RandomState(draw.randrange(1000)).randint(0, 100, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{draw.randrange(20)}.png")
    else:
        file.touch()
    return f"{how} {file.relative_to(pipeline.root)}"


def add_class(pipeline: Pipeline, draw: random.Random) -> str:
    new = draw.choice(("aardvark", "eel"))
    if not (pipeline.root / "data/images/train" / new).exists():
        write_images(pipeline.root / "data/images/train", [new])
    return f"der add {new}: {pipeline.command('python', '-m', 'der', 'add', PYTHONPATH='src').returncode}"


def lose(pipeline: Pipeline, draw: random.Random) -> str:
    path = pipeline.root / draw.choice(LOST)
    if path == pipeline.root / "data":
        for one in ("raw", "tasks", "checkpoints", "memory", "fingerprints", "made_of"):
            shutil.rmtree(path / one, ignore_errors=True)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return f"lost {path.name}"


def lose_object(pipeline: Pipeline, draw: random.Random) -> str:
    objects = sorted((pipeline.root / ".dvc/cache/files/md5").glob("??/*"))
    if objects:
        draw.choice(objects).unlink()
    return "lost an object"


def overwrite(pipeline: Pipeline, draw: random.Random) -> str:
    """Put another step's or another run's files in place of a result."""
    one, other = draw.sample(
        ("data/checkpoints/1", "data/checkpoints/2", "metrics/steps/1", "metrics/steps/2"), 2
    )
    if (pipeline.root / other).is_dir():
        shutil.rmtree(pipeline.root / one, ignore_errors=True)
        shutil.copytree(pipeline.root / other, pipeline.root / one)
    return f"{one} is {other}"


def put_back_lock(pipeline: Pipeline, draw: random.Random) -> str:
    """As git does with another branch."""
    lock, kept = pipeline.root / "dvc.lock", pipeline.root / ".kept"
    if kept.exists() and draw.random() < 0.5:
        shutil.copyfile(kept, lock)
        return "an earlier dvc.lock"
    with suppress(FileNotFoundError):
        shutil.copyfile(lock, kept)
    return "dvc.lock kept"


MOVES: dict[Callable[[Pipeline, random.Random], str], int] = {
    edit: 8,
    edit_code: 2,
    edit_images: 2,
    add_class: 1,
    lose: 3,
    lose_object: 1,
    overwrite: 1,
    put_back_lock: 2,
}


def repro(pipeline: Pipeline) -> list[str]:
    """Run `dvc repro`; returns the stages that ran."""
    return RUNNING.findall(pipeline.command("dvc", "repro").stdout)


def end(pipeline: Pipeline, moment: str, stages: int) -> list[str]:
    """Likewise, but it ends at such a moment of so manieth a stage."""
    return RUNNING.findall(pipeline.with_dvc(ENDED, moment, str(stages)).stdout)


def kill(pipeline: Pipeline, kind: signal.Signals, seconds: float) -> list[str]:
    """Likewise, but all its processes get a signal after so many seconds."""
    with started(pipeline, "dvc", "repro") as one:
        with suppress(subprocess.TimeoutExpired):
            one.process.wait(seconds)
        if not one.ended() and kind == signal.SIGTERM:
            os.killpg(one.process.pid, kind)
            one.process.wait()
            time.sleep(1)  # in which stages end themselves
        one.kill()
        return RUNNING.findall(one.printed)


def compare(pipeline: Pipeline, run: Callable[[], list[str]], before: object = None) -> Counter[str]:
    """Run it, and hold it to the plan; returns how many stages were planned and ran."""
    said = pipeline.command("python", "-m", "der", "plan", PYTHONPATH="src")
    planned = ["check"] if said.returncode else listed(said.stdout)  # stage check refuses it, too
    ran = run()
    assert set(ran) <= set(planned), (before, ran, planned, said.stderr)
    if said.returncode:
        assert said.stderr.startswith("error: ")
        pipeline.edit(protocol__steps=None, protocol__later_classes=2, memory__budget=12)
        pipeline.command("python", "-m", "der", "chain", PYTHONPATH="src")
    return Counter(planned=len(planned), ran=len(ran), refused=said.returncode)


def walk(pipeline: Pipeline, draw: random.Random, turns: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    done: list[object] = []
    for _ in range(turns):
        moves = draw.choices([*MOVES], [*MOVES.values()], k=draw.randint(1, 2))
        done.append([move(pipeline, draw) for move in moves])
        run = partial(repro, pipeline)
        how = draw.choice(("whole", "whole", "moment", "moment", "signal"))
        if how == "moment":
            run = partial(end, pipeline, draw.choice(MOMENTS), draw.randint(1, 6))
        elif how == "signal":
            run = partial(kill, pipeline, draw.choice((signal.SIGTERM, signal.SIGKILL)), draw.uniform(1, 20))
        done.append((run.func.__name__, run.args[1:]))
        counts += compare(pipeline, run, done)
    return counts


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many turns as --torture asks for, some in each test."""
    if "number" in metafunc.fixturenames:
        count = metafunc.config.getoption("torture") or 0
        metafunc.parametrize("number", range(-(-count // TURNS)))


@pytest.mark.torture
def test_whatever_happened_the_plan_names_what_runs(number: int, pipeline: Pipeline) -> None:
    assert walk(pipeline, random.Random(number), TURNS)["ran"]


def test_the_plan_names_what_runs(pipeline: Pipeline) -> None:
    pipeline.edit(protocol__class_order=["dog", "cat", "bee", "ant"])
    (pipeline.root / "notes").write_text("Ants are small.", encoding="utf-8")
    pipeline.succeed("dvc", "add", "notes")  # a file of DVC and of no stage
    end(pipeline, "left", 2)  # split has written what dvc.lock does not know
    counts = compare(pipeline, partial(end, pipeline, "edited", 3))  # which build_memory@1 was not made of
    counts += compare(pipeline, partial(repro, pipeline))
    assert counts["ran"] and not counts["refused"]
