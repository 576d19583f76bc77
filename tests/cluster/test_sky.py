"""The task file for SkyPilot: what it calls, and with which values."""

import re
import subprocess
from typing import Any

import yaml

from tests.locations import ROOT

FILE = ROOT / "examples/cluster/sweep.sky.yaml"
TEXT = FILE.read_text(encoding="utf-8")
TASK: dict[str, Any] = yaml.safe_load(TEXT)


def test_commands_are_a_shell_s_and_their_variables_are_given() -> None:
    # https://docs.skypilot.co/en/latest/reference/yaml-spec.html
    assert set(TASK) == {"name", "resources", "envs", "file_mounts", "setup", "run"}
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=TASK[part], text=True, check=True)
        used = set(re.findall(r"\$\{?([A-Z_]+)", TASK[part])) - {"DER_SCRATCH"}
        assert used and used <= set(TASK["envs"])


def test_what_has_no_value_is_in_the_command_above() -> None:
    (command,) = re.findall(r"^# +(sky jobs launch .+)$", TEXT, re.MULTILINE)
    required = {name for name, value in TASK["envs"].items() if value is None}
    assert required == set(re.findall(r"--env (\w+)=", command))
    assert {mount["name"].strip("${}") for mount in TASK["file_mounts"].values()} <= required  # of buckets
    assert command.endswith(f" {FILE.relative_to(ROOT)}")


def test_a_row_is_called_as_it_says() -> None:
    (call,) = re.findall(r"bash (\S+)((?: \S+)+)", TASK["run"])
    script = (ROOT / call[0]).read_text(encoding="utf-8")
    (usage,) = re.findall(r"^# usage: sweep_row.sh (.+)$", script, re.MULTILINE)
    given, named = call[1].split(), usage.split()
    assert given[:-1] == [f'"${name}"' for name in named[:-1]] and len(given) == len(named)
    (needed,) = re.findall(r"\$\{(\w+):\?name a directory", script)
    assert f"export {needed}=/scratch/" in TASK["run"] and "/scratch" in TASK["file_mounts"]
