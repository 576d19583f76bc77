"""Every command on README.md and docs/*.md: run here, or by the test that is named, or not for a reason."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.cli.parser import get_main_parser

import der
from der.cli.main import COMMANDS as OURS
from der.estimator.choices import change_settings
from tests.runs.lab import EDITS, REPOSITORY, Pipeline
from tests.runs.pages import COMMANDS, PAGES, programs, read_blocks, read_page

ALL = ""  # of a page's headings

# Where another test runs the commands, taking them from the page.
ELSEWHERE = {
    ("README.md", "Adding a class"): "runs/test_added_classes.py",
    ("README.md", "Your own images"): "runs/test_own_images.py",
    ("docs/images.md", "Your own images"): "runs/test_own_images.py",
    ("docs/images.md", "Adding classes later"): "runs/test_added_classes.py",
    ("docs/images.md", "More photos of a known class"): "runs/test_added_classes.py",
    ("docs/sharing.md", ALL): "runs/test_sharing.py",
    ("docs/experiments.md", "One"): "runs/test_experiments.py",
    ("docs/experiments.md", "Many"): "runs/test_experiments.py",
    ("docs/scale.md", "A sweep on Slurm"): "cluster/test_slurm.py",
    ("docs/scale.md", "A chain on several nodes"): "cluster/test_slurm.py",
    ("docs/pipeline.md", "Without DVC"): "runs/test_reproducible.py",
    ("docs/exports.md", "Exports"): "inference/test_export.py",
}

NOT_RUN = {  # beginnings of lines
    "pip install ": "packages come from the network; tests/packaging installs the wheel",
    "tensorboard ": "a server, which runs until it is stopped",
    ". .venv/bin/activate": "the tests run in an environment that is active",
    "python -m bench": "minutes, and gigabytes on disk; tests/bench has the names of all cases",
    "python -m tools.results record ": "a run of minutes; tests/tools has made ones",
    "torchrun ": "tests/runs/test_team.py has two processes train",
}

# What is run instead of a part of a command: the tiny pipeline is another, and nobody is there to answer.
REPLACED = {
    r"^make ": "make --dry-run ",  # environments and measurements of hours: that there is such a target
    r"data/checkpoints/4": "data/checkpoints/2",
    r"\bCOMMIT\b": "HEAD",
    r"^dvc gc ": "dvc gc --force ",
}
# Where `dvc repro` would train for hours: that DVC can tell what it has to do.
LONG = ("docs/presets.md", "docs/masks.md")

# What must be there before the commands below a heading.
PREPARED = {
    ("README.md", "The pipeline in one command"): "touch notes.txt",
    ("docs/pipeline.md", "The page of results"): (
        "git add --all && git commit --quiet --allow-empty --message Results"
        " && git commit --quiet --allow-empty --message Again"
    ),
    ("docs/exports.md", "Predictions on the command line"): (
        "mkdir holiday && cp data/images/train/ant/*.png holiday && cp data/images/train/cat/0.png cat.jpg"
    ),
    ("docs/troubleshooting.md", "An experiment was stopped by SIGTERM"): (
        "git switch --quiet --create other && git switch --quiet --detach"
        " && echo >> params.yaml && git add params.yaml"
    ),
    ("docs/troubleshooting.md", "`dvc checkout` of an older commit"): "rm -r data/checkpoints/1",
}


def commands(page: str) -> list[tuple[str, str]]:
    """The headings and commands of a page, comments left out."""
    found = [block for block in read_blocks(page) if block.language == COMMANDS]
    lines = [
        (block.heading, line.partition(" #")[0].strip())
        for block in found
        for line in block.text.splitlines()
    ]
    return [(heading, line) for heading, line in lines if line]


def to_run(page: str) -> list[tuple[str, str]]:
    """The headings and commands that are run here."""
    return [
        (heading, line)
        for heading, line in commands(page)
        if not {(page, heading), (page, ALL)} & ELSEWHERE.keys() and not line.startswith(tuple(NOT_RUN))
    ]


def adapted(page: str, line: str) -> str:
    for pattern, replacement in REPLACED.items():
        line = re.sub(pattern, replacement, line)
    return "dvc status" if page in LONG and line == "dvc repro" else line


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)])
def test_commands(page: str, pipeline: Pipeline) -> None:
    waiting = {heading: line for (one, heading), line in PREPARED.items() if one == page}
    for heading, line in to_run(page):
        for one in (waiting.pop(heading, None), adapted(page, line)):
            if one is not None:
                pipeline.shell(one)
    assert waiting == {}


def test_commands_that_are_not_run_here() -> None:
    shown = {(page, heading): line for page in PAGES for heading, line in commands(page)}
    for (page, heading), test in ELSEWHERE.items():
        assert (page, heading) in shown or heading == ALL, (page, heading)
        text = (REPOSITORY / "tests" / test).read_text(encoding="utf-8")
        assert f'"{page}"' in text and heading in text, test
    lines = [line for page in PAGES for _, line in commands(page)]
    assert all(any(line.startswith(start) for line in lines) for start in NOT_RUN)


def test_what_is_no_sentence_is_indented_or_names_its_language() -> None:
    """So that no command hides in a fence."""
    languages = {(page, block.language) for page in PAGES for block in read_blocks(page)}
    assert {language for _, language in languages} <= {COMMANDS, "python", "yaml", "text"}
    assert not any(language == COMMANDS and "```sh" in read_page(page) for page, language in languages)


def named_in_sentences() -> Iterator[tuple[str, str]]:
    """Programs and their first words, as `code` between words."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```$|^ {4}.*?$", "", read_page(page), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`([^`\n]+)`", text):
            if found := re.match(r"(der|dvc|make) ([a-z][a-z-]*)\b", span):
                yield found[1], found[2]


def test_commands_in_sentences_exist() -> None:
    (action,) = (one for one in get_main_parser()._actions if one.dest == "cmd")
    targets = re.findall(r"^(\w+):", read_page("Makefile"), re.MULTILINE)
    ours = {command.__name__ for command in OURS}
    known = {"der": ours, "dvc": {*(action.choices or ())}, "make": {*targets}}
    named = set(named_in_sentences())
    assert len(named) > 15
    assert {(program, word) for program, word in named if word not in known[program]} == set()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preset digits has the few epochs of the tiny pipeline."""
    preset = der.preset
    trained = {key.replace(".", "__"): value for key, value in EDITS.items() if key.startswith("train.")}

    def shorter(name: str) -> Any:
        return change_settings(preset(name), {"network__depth": 8, **trained})

    monkeypatch.setattr("der.estimator.choices.preset", shorter)


def test_the_library_in_ten_lines(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = programs("README.md")
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["model"].classes_.tolist() == list("0123456789")
    assert len([line for line in program.splitlines() if line]) == 10
    # The division is the pipeline's, and so are the test images.
    assert [len(one.test) for one in names["classes"]] == [
        int(0.2 * (len(one.train) + len(one.test)) + 0.5) for one in names["classes"]
    ]
    printed = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 4 and 100 * names["model"].score(*names["tests"]) == pytest.approx(printed[-1])


def test_programs_of_the_library_s_page(
    base: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params.yaml", "data/checkpoints/2", "data/memory/2"):
        copy = shutil.copytree if (base.root / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(base.root / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec("\n".join(programs("docs/library.md")), names)
    printed = capsys.readouterr().out
    assert "['bee' 'ant' 'cat']" in printed
    assert names["model"].classes_.tolist() == ["bee", "ant", "cat", "dim"]
    assert names["finished"].classes_.tolist() == ["ant", "bee", "cat", "dog"]
    assert names["probabilities"].shape == (60, 3) and len(names["predictions"]) == 60
    assert printed.count("representation ") == 2  # epochs that were heard of
