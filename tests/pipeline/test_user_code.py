"""User-defined functions are code that stages depend on."""

import shutil
import sys
from functools import reduce
from pathlib import Path

import pytest

from der.core.errors import UserError
from der.core.registry import check_imported
from der.estimator.choices import CHOICES
from der.pipeline.fingerprint import read_code, write_fingerprints
from der.pipeline.project import GRAPH, PARAMS, write_text
from der.pipeline.stage import Given
from der.pipeline.user_code import importing_named
from der.settings.parsing import put_values
from tests.locations import ROOT

STAGES = ["build_memory", "download", "evaluate", "initialize", "report", "split", "summarize", "train_task"]
WITH_NETWORKS = {"build_memory", "evaluate", "initialize", "train_task"}
READ_BY = {  # whose code has the user-defined function
    "dataset.source": {"download"},
    "network.backbone": WITH_NETWORKS,
    "network.head_initialization": WITH_NETWORKS,
    "train.incremental.rebalancing": {"train_task"},
    "memory.selection": {"build_memory"},
}


def hash_stages(stages: list[str]) -> dict[str, list[str]]:
    """The lines of every fingerprint, which name modules."""
    return {stage: text.splitlines() for stage, text in read_code(stages).items()}


def modules_of(lines: list[str]) -> set[str]:
    return {line.split()[1] for line in lines}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, with a package `own` in src whose module names imports its module helper."""
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (PARAMS, GRAPH):
        shutil.copyfile(ROOT / path, tmp_path / path)
    write_package(tmp_path / "src")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "src")
    return tmp_path


def write_package(place: Path, name: str = "own") -> None:
    package = place / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "names.py").write_text(
        f"import numpy\nfrom {name}.helper import value\n\ndef function(): ...\n"
    )
    (package / "helper.py").write_text("value = 1\n")


def name_function(key: str, text: str = "own.names:function") -> None:
    """Write it into params.yaml, whatever stood there."""
    before = PARAMS.read_text(encoding="utf-8")
    write_text(put_values(before, reduce(lambda inner, name: {name: inner}, reversed(key.split(".")), text)))


@pytest.mark.parametrize("key", CHOICES)
def test_its_code_belongs_to_the_stages_that_run_it(project: Path, key: str) -> None:
    before = hash_stages(STAGES)
    name_function(key)
    after = hash_stages(STAGES)
    own = {"own", "own.names", "own.helper"}
    added = {stage: modules_of(after[stage]) - modules_of(before[stage]) for stage in STAGES}
    assert {stage for stage, names in added.items() if names} == READ_BY[key]
    assert all(names in (own, set()) for names in added.values())
    (project / "src/own/helper.py").write_text("value = 2\n")
    edited = hash_stages(STAGES)
    assert {stage for stage in STAGES if edited[stage] != after[stage]} == READ_BY[key]
    (project / "src/own/helper.py").write_text("value = 2  # two\n")
    assert hash_stages(STAGES) == edited


def test_a_stage_is_held_to_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("der.pipeline.stage.imported_own", imported := {"own.earlier"})
    write_fingerprints(read_code(STAGES))
    given = Given("build_memory")
    given.confirm()
    imported.add("own.names")  # of a function that was named after stage check
    with pytest.raises(UserError, match="build_memory: its code has been edited"):
        given.confirm()
    name_function("memory.selection")
    write_fingerprints(read_code(STAGES))
    Given("build_memory").confirm()
    (project / "src/own/helper.py").write_text("value = 2\n")
    Given("split")
    with pytest.raises(UserError, match="build_memory: its code has been edited"):
        Given("build_memory")


@pytest.mark.parametrize("is_inside", [True, False])
def test_code_that_dvc_does_not_look_at_is_refused_until_check_depends_on_it(
    project: Path,
    is_inside: bool,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = project if is_inside else tmp_path_factory.mktemp("elsewhere")
    package = f"beside_{is_inside}"
    write_package(place, package)
    monkeypatch.syspath_prepend(place)
    name_function("memory.selection", f"{package}.names:function")
    dependency = package if is_inside else f"{place}/{package}"
    with pytest.raises(UserError, match=rf"DVC would not see .*dvc\.yaml: - {dependency}/__init__\.py$"):
        hash_stages(STAGES)
    text = GRAPH.read_text(encoding="utf-8")
    GRAPH.write_text(text.replace("      - src\n", f"      - src\n      - {dependency}\n"))
    assert f"{package}.helper" in modules_of(hash_stages(STAGES)["build_memory"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("os:getcwd", r"^params\.yaml: memory\.selection: 'os' is Python's own; write"),
        ("no_such.module:function", None),  # the check of names refuses it
        ("herding", None),
    ],
)
def test_what_is_no_code_to_watch(project: Path, text: str, message: str | None) -> None:
    before = hash_stages(STAGES)
    name_function("memory.selection", text)
    if message is None:
        assert hash_stages(STAGES) == before
    else:
        with pytest.raises(UserError, match=message):
            hash_stages(STAGES)


def test_what_a_checkpoint_names_is_imported_for_a_command_only_if_params_yaml_names_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "own.names", raising=False)
    with (
        pytest.raises(
            UserError, match=r"^file: .*; import own\.names first, if .* what the params\.yaml of the"
        ),
        importing_named(),
    ):
        check_imported("own.names:function", "file")
    name_function("network.backbone")
    with importing_named():
        check_imported("own.names:function", "file")
    monkeypatch.delitem(sys.modules, "own.names")
