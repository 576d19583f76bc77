"""The task file for SkyPilot, held to the fields that its documentation names, and to what it calls."""

import re
import subprocess
from typing import Any

import pytest
import yaml
from jsonschema import validate

from tests.locations import ROOT
from tests.runs.pages import blocks

FILE = ROOT / "examples/cluster/sweep.sky.yaml"
TEXT = FILE.read_text(encoding="utf-8")
TASK: dict[str, Any] = yaml.safe_load(TEXT)


def fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def each(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value}


STRING = {"type": "string"}
MODE = {"enum": ["MOUNT", "COPY", "MOUNT_CACHED"]}
# https://docs.skypilot.co/en/latest/reference/yaml-spec.html, of which the file uses these.
SCHEMA = fields(
    name=STRING,
    resources=fields(
        accelerators=each({"type": "number"}) | {"maxProperties": 1},
        use_spot={"type": "boolean"},
        job_recovery=fields(max_restarts_on_errors={"type": "integer", "minimum": 0}),
    ),
    envs={**each({"type": ["string", "null"]}), "propertyNames": {"pattern": r"^[A-Z_]+$"}},
    file_mounts=each(
        fields(name={"type": "string", "pattern": r"^\$\{[A-Z_]+\}$"}, mode=MODE)  # one for all the world
    ),
    setup=STRING,
    run=STRING,
)


def test_fields_are_those_of_the_documentation() -> None:
    validate(TASK, SCHEMA)


@pytest.mark.parametrize("part", ["setup", "run"])
def test_commands_are_a_shell_s_and_their_variables_are_given(part: str) -> None:
    subprocess.run(["bash", "-n"], input=TASK[part], text=True, check=True)
    used = set(re.findall(r"\$\{?([A-Z_]+)", TASK[part])) - set(re.findall(r"export ([A-Z_]+)=", TASK[part]))
    assert used and used <= set(TASK["envs"])


def test_buckets_have_names_that_are_asked_for() -> None:
    names = {mount["name"].strip("${}") for mount in TASK["file_mounts"].values()}
    assert all(TASK["envs"][name] is None for name in names)


def test_what_has_no_value_is_in_the_command_above_and_on_the_page() -> None:
    (command,) = re.findall(r"^# +(sky jobs launch .+)$", TEXT, re.MULTILINE)
    assert blocks("docs/scale.md", "A sweep in a cloud") == [command]
    required = {name for name, value in TASK["envs"].items() if value is None}
    assert required == set(re.findall(r"--env (\w+)=", command))
    assert command.endswith(f" {FILE.relative_to(ROOT)}")


def test_a_row_is_called_as_it_says() -> None:
    (call,) = re.findall(r"bash (\S+)((?: \S+)+)", TASK["run"])
    script = (ROOT / call[0]).read_text(encoding="utf-8")
    (usage,) = re.findall(r"^# usage: sweep_row.sh (.+)$", script, re.MULTILINE)
    given, named = call[1].split(), usage.split()
    assert len(given) == len(named)
    for value, name in zip(given[:-1], named, strict=False):
        assert value == f'"${name}"'
    (needed,) = re.findall(r"\$\{(\w+):\?name a directory", script)
    assert f"export {needed}=/scratch/" in TASK["run"] and "/scratch" in TASK["file_mounts"]
