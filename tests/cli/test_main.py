"""The command line as a whole: its help, its first lines, what it imports and touches."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import der.cli
from der.cli.main import COMMANDS, FIRST, main
from der.pipeline.chain import write_chain

# Runs each of the command lines that it is given; reports what a line leaves in sys.modules, and does.
WATCHED = """
import contextlib, io, json, sys
from der.cli.main import main

deeds = []
WATCHED = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.connect")
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree")

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in WATCHED or event in CHANGES:
        deeds.append([event, str(arguments[0])])

sys.addaudithook(watch)
found = []
for words in json.loads(sys.argv[1]):
    deeds.clear()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            status = main(words) or 0
        except SystemExit as ended:
            status = ended.code or 0
    heavy = [name for name in ("torch", "torchvision", "vl_convert", "numpy", "dvc") if name in sys.modules]
    found.append({"status": status, "text": output.getvalue(), "heavy": heavy, "deeds": list(deeds)})
print(json.dumps(found))
"""


def test_help_imports_nothing_heavy_and_does_nothing_anywhere(tmp_path: Path) -> None:
    lines = [[], ["--help"], *([name, "--help"] for name in COMMANDS)]
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED, json.dumps(lines)],
        cwd=tmp_path,  # no project
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for words, found in zip(lines, json.loads(done.stdout), strict=True):
        assert found["status"] == 0, words
        assert found["heavy"] == [] and found["deeds"] == [], (words, found)
        assert found["text"].startswith("What one does first" if not words else "usage: der"), words
    assert list(tmp_path.iterdir()) == []


def test_help_where_the_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    with pytest.raises(SystemExit) as ended:
        main(["chain", "--help"])
    assert not ended.value.code and capsys.readouterr().out.startswith("usage: der chain")


def test_help_of_all_stages_needs_no_project_and_a_stage_that_is_none_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = importlib.import_module("stages.__main__")
    monkeypatch.chdir(tmp_path)
    for words, code, text in (
        (["--help"], 0, "usage: python -m stages"),
        (["--start-at", "split@1"], 2, "no stage 'split@1'; choose from download, split, "),
    ):
        monkeypatch.setattr("sys.argv", ["stages", *words])
        with pytest.raises(SystemExit) as ended:
            stages.main()
        assert (ended.value.code or 0) == code
        printed = capsys.readouterr()
        assert text in printed.out + printed.err
        write_chain(2)  # for the second


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_is_the_first_line_of_its_module(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    module = importlib.import_module(f"der.cli.{name}")
    assert module.__doc__ is not None
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    assert module.__doc__.split("\n")[0] in capsys.readouterr().out


def test_every_command_has_a_module_and_every_module_a_command() -> None:
    modules = [module.name for module in pkgutil.iter_modules(der.cli.__path__)]
    with_run = [name for name in modules if hasattr(importlib.import_module(f"der.cli.{name}"), "run")]
    assert sorted(COMMANDS) == sorted(with_run)


def test_without_words_it_says_what_one_does_first(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == FIRST + "\n"
    named = re.findall(r"^  der (\w+)", FIRST, re.MULTILINE)
    assert named and set(named) <= set(COMMANDS)


@pytest.mark.parametrize(
    "words", [["train"], ["--all"], ["check", "folder"], ["report", "--csv"], ["show", "--csv"]]
)
def test_what_is_no_command_or_no_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("usage: der")
