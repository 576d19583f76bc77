"""The command line as a whole: its help, what that imports and touches, what it says is missing."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import der
from der.cli.main import COMMANDS, PIPELINE, main, naming_the_extra
from der.core.errors import UserError
from der.pipeline.project import write_chain
from tests.locations import ROOT

NAMES = [command.__name__ for command in COMMANDS]

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
    lines = [[], ["--help"], *([name, "--help"] for name in NAMES)]
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED, json.dumps(lines)],
        cwd=tmp_path,  # no project
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [[one.pop("text"), one] for one in json.loads(done.stdout)]
    assert [one for _, one in found] == [{"status": 0, "heavy": [], "deeds": []}] * len(lines)
    assert list(tmp_path.iterdir()) == []
    (first, _), (every, _), *each = found
    assert first == every
    for command, (text, _) in zip(COMMANDS, each, strict=True):
        summary = (command.__doc__ or "").partition("\n")[0]
        assert text.startswith(f"usage: der {command.__name__} ") and summary in text and summary in every


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
        write_chain(2)  # for the second, with the graph
        shutil.copy(ROOT / "dvc.yaml", tmp_path)


@pytest.mark.parametrize("name", [*sorted(PIPELINE), "numpy", "dvcx"])
def test_what_to_install(name: str) -> None:
    said = f"{name} is missing, which this command needs; pip install 'der-pipeline[pipeline]'"
    with pytest.raises((UserError, ModuleNotFoundError)) as caught, naming_the_extra():
        raise (error := ModuleNotFoundError(f"No module named '{name}.inner'", name=f"{name}.inner"))
    assert str(caught.value) == said if name in PIPELINE else caught.value is error


def test_commands_find_the_project_from_a_folder_of_it_and_presets_anywhere(tmp_path: Path) -> None:
    def der_says(*words: str) -> str:
        line = [sys.executable, "-m", "der", *words]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
        return done.stdout + done.stderr

    folder = ROOT / "docs"
    assert der_says("check") == "params.yaml and chain.yaml are good\n"
    folder = tmp_path
    assert "notebook" in der_says("preset")
    assert der_says("preset", "notebook") == "error: params.yaml: not found; run from the repository's root\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert not ended.value.code and [name for name in NAMES if name not in script] == []
    if shell == "bash":
        asked = "COMP_WORDS=(der pre); COMP_CWORD=1; _shtab_der; echo ${COMPREPLY[*]}"
        done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True)
        assert set(done.stdout.split()) == {"preset", "predict"}


def test_its_version_and_a_reader_that_ends_early(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert not ended.value.code and capsys.readouterr().out == f"der {der.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", der.__version__)
    line = f"{sys.executable} -m der preset | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
