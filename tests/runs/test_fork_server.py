"""Forks of the server do as usual processes: place, arguments, environment, output, exit status, end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SAYS = """
import os, sys
print(os.getcwd(), sys.argv[1:], os.environ.get("MARK"), sys.path[0], __name__, sys.stdin.read())
print([name for name in sys.modules if name.partition(".")[0] in ("der", "stages", "tests")])
end = sys.argv[1]
if end == "error":
    raise LookupError("lost")
if end == "late":
    import atexit
    atexit.register(print, "at the end")
sys.exit({"none": None, "three": 3, "words": "in words", "late": 0}[end])
"""
WAITS = """
import os, time
print(os.getpid(), flush=True)
time.sleep(600)
"""
ENVIRONMENT = {"MARK": "as given", "PATH": os.environ["PATH"]}


@pytest.fixture
def program(forks: Path | None, tmp_path: Path) -> Path:
    if forks is None:
        pytest.skip("no fork server here")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/says.py").write_text(SAYS, encoding="utf-8")
    (tmp_path / "stages/waits.py").write_text(WAITS, encoding="utf-8")
    return forks


def run(program: str, directory: Path, word: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [program, "-m", "stages.says", word, "two words"],
        cwd=directory,
        env=ENVIRONMENT,
        input="what is read",
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr.splitlines()[-1] if done.stderr else ""


@pytest.mark.parametrize("word", ["none", "three", "words", "late", "error"])
def test_a_fork_does_as_a_usual_process(word: str, program: Path, tmp_path: Path) -> None:
    usual = run(sys.executable, tmp_path, word)
    assert run(str(program), tmp_path, word) == usual
    assert usual[0] in (0, 1, 3) and "['stages']" in usual[1]


def test_a_fork_ends_with_its_client(program: Path, tmp_path: Path) -> None:
    line = [program, "-m", "stages.waits"]
    client = subprocess.Popen(line, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert client.stdout
    fork = psutil.Process(int(client.stdout.readline()))
    client.kill()
    client.communicate()
    end = time.monotonic() + 60
    while fork.is_running() and fork.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.01)
