"""What people look for before they adopt: licence, citation, changelog, the workflow of the tests."""

import json
import re
import subprocess
import sys
import tomllib
from itertools import chain
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from tests.locations import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def check(schema: str, *files: object) -> None:
    """Have check-jsonschema hold files to one of the schemas that it brings."""
    words = ["--builtin-schema", schema, "--force-filetype", "yaml", *map(str, files)]
    line = [sys.executable, "-m", "check_jsonschema", *words]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_citation() -> None:
    check("vendor.citation-file-format", "CITATION.cff")
    content = read_yaml("CITATION.cff")
    keys = ("version", "license", "authors")
    assert [content[key] for key in keys] == [PROJECT[key] for key in keys]
    # GitHub's reader of the file takes no aliases.
    assert not re.search(r"[:-] [&*]\w", (ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_workflow() -> None:
    check("vendor.github-workflows", ".github/workflows/tests.yml")
    jobs = read_yaml(".github/workflows/tests.yml")["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([\w ]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = {line.split()[1] for line in steps if line.startswith("make ")}
    assert made == {"check", "docs", "test"} and made <= {word for one in targets for word in one.split()}
    assert {"macos-latest", "windows-latest"} <= set(jobs["others"]["strategy"]["matrix"]["system"])


def test_the_containers_name_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r'^CMD \["make", "run"\]$', text, re.MULTILINE) and "\nrun: $(RUNS)" in makefile
    # What the image builds is the environment of `make run`, with the pinned versions.
    assert "RUN make .venv/.runs" in text and "\nVENV := .venv\nRUNS := $(VENV)/.runs\n" in makefile
    assert "\nCONSTRAINTS ?= constraints.txt\n" in makefile
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    build = container["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).samefile(ROOT / "Dockerfile")
    assert f"AS {build['target']}\n" in text and container["postCreateCommand"] == "make run"
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            assert (ROOT / line[1:]).is_dir(), line


def test_the_pinned_versions_are_of_what_the_ranges_admit() -> None:
    """Names and exact versions alone: no address, and nothing of one machine."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pinned = dict(line.split("==") for line in lines)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    names = {canonicalize_name(name): version for name, version in pinned.items()}
    for one in map(
        Requirement, [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    ):
        if one.name != PROJECT["name"] and canonicalize_name(one.name) in names:
            assert names[canonicalize_name(one.name)] in one.specifier, one
            assert any(bound.operator == "<" for bound in one.specifier), one
    assert {"torch", "numpy", "dvc", "msgspec"} <= names.keys()
