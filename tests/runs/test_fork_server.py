"""Forks of the server do as usual processes: place, arguments, environment, output, exit status, end."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.runs.killing import has_status, wait_for

SAYS = """
import os, sys, time
end = sys.argv[1]
if end == "never":
    print(os.getpid(), flush=True)
    time.sleep(600)
print(os.getcwd(), sys.argv[1:], os.environ.get("MARK"), sys.path[0], __name__, sys.stdin.read())
print([name for name in sys.modules if name.partition(".")[0] in ("der", "stages", "tests")])
if end == "error":
    raise LookupError("lost")
if end == "late":
    import atexit
    atexit.register(print, "at the end")
sys.exit({"none": None, "three": 3, "words": "in words", "late": 0}[end])
"""
ENVIRONMENT = {"MARK": "as given", "PATH": os.environ["PATH"]}


@pytest.fixture
def program(forks: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if forks is None:
        pytest.skip("no fork server here")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/says.py").write_text(SAYS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return forks


def test_a_fork_does_as_a_usual_process(program: Path) -> None:
    def run(python: Path | str, word: str) -> tuple[int, str, list[str]]:
        line = [python, "-m", "stages.says", word, "two words"]
        done = subprocess.run(line, env=ENVIRONMENT, input="what is read", capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr.splitlines()[-1:]

    for word, status in {"none": 0, "three": 3, "words": 1, "late": 0, "error": 1}.items():
        usual = run(sys.executable, word)
        assert run(program, word) == usual
        assert usual[0] == status and "['stages']" in usual[1]


def test_a_fork_ends_with_its_client(program: Path) -> None:
    client = subprocess.Popen(
        [program, "-m", "stages.says", "never"], env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    assert client.stdout
    fork = psutil.Process(int(client.stdout.readline()))
    client.kill()
    client.communicate()
    wait_for(lambda: has_status(fork, psutil.STATUS_ZOMBIE))
