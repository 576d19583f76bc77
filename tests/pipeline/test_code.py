"""Nothing is cached under the wrong code: what a stage runs is what check read, functions of users too."""

import shutil
import sys
from functools import reduce
from pathlib import Path

import pytest

from der.core.errors import DamageError, UserError
from der.core.registry import check_imported
from der.data import protocol
from der.estimator.choices import CHOICES
from der.pipeline.fingerprint import importing_named, read_code, write_fingerprints
from der.pipeline.project import FINGERPRINTS, GRAPH, PARAMS, fingerprint, write_text
from der.pipeline.stage import Given
from der.settings.parsing import put_values
from tests.locations import ROOT

pytestmark = pytest.mark.slow

ONCE = ["download", "features", "initialize", "report", "split", "summarize"]
STAGES = sorted([*ONCE, "build_memory", "compress", "evaluate", "train_task"])
WITH_NETWORKS = {"build_memory", "compress", "evaluate", "features", "initialize", "train_task"}
READ_BY = {  # whose code has the user-defined function
    "dataset.source": {"download"},
    "network.backbone": WITH_NETWORKS,
    "network.head_initialization": WITH_NETWORKS,
    "train.incremental.rebalancing": {"train_task"},
    "memory.selection": {"build_memory"},
}
STAGE = "split"
MODULE = protocol.__name__  # which split imports
OWN = Path("src/own/helper.py")
EDITED = " its code has been edited since stage check read it; run `dvc repro`, without --single-item$"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, with a package `own` in src whose module names imports its module helper."""
    root = tmp_path_factory.mktemp("code")
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_package(root / "src")
    return root


@pytest.fixture(autouse=True)
def project(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with that code, of which stages know what it says."""
    root = tmp_path / "project"
    shutil.copytree(code, root)
    for path in (PARAMS, GRAPH):
        shutil.copyfile(ROOT / path, root / path)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root / "src")
    monkeypatch.setenv("DER_SCRATCH", str(code.parent / "scratch"))  # so that it is parsed once
    write_fingerprints(read_code(STAGES, keep=True))
    return root


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


def hash_stages() -> dict[str, list[str]]:
    """The lines of every fingerprint, which name modules."""
    return {stage: text.splitlines() for stage, text in read_code(STAGES).items()}


def modules_of(lines: list[str]) -> set[str]:
    return {line.split()[1] for line in lines}


def edit(line: str = "print()") -> None:
    path = Path("src", *MODULE.split(".")).with_suffix(".py")
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")


@pytest.mark.parametrize("key", CHOICES)
def test_the_code_of_a_function_belongs_to_the_stages_that_run_it(key: str) -> None:
    before = hash_stages()
    name_function(key)
    after = hash_stages()
    own = {"own", "own.names", "own.helper"}
    added = {stage: modules_of(after[stage]) - modules_of(before[stage]) for stage in STAGES}
    assert {stage for stage, names in added.items() if names} == READ_BY[key]
    assert all(names in (own, set()) for names in added.values())
    OWN.write_text("value = 2\n")
    edited = hash_stages()
    assert {stage for stage in STAGES if edited[stage] != after[stage]} == READ_BY[key]
    OWN.write_text("value = 2  # two\n")
    assert hash_stages() == edited


def test_a_stage_is_held_to_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("der.core.registry.imported_own", imported := {"own.earlier"})
    given = Given("build_memory")
    given.confirm()
    imported.add("own.names")  # of a function that was named after stage check
    with pytest.raises(UserError, match=f"^build_memory:{EDITED}"):
        given.confirm()
    name_function("memory.selection")
    write_fingerprints(read_code(STAGES))
    Given("build_memory").confirm()
    OWN.write_text("value = 2\n")
    Given("split")
    with pytest.raises(UserError, match=f"^build_memory:{EDITED}"):
        Given("build_memory")


@pytest.mark.parametrize("is_inside", [True, False])
def test_code_that_dvc_does_not_look_at_is_refused_until_check_depends_on_it(
    is_inside: bool, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = project if is_inside else tmp_path / "elsewhere"
    package = f"beside_{is_inside}"
    write_package(place, package)
    monkeypatch.syspath_prepend(place)
    name_function("memory.selection", f"{package}.names:function")
    dependency = package if is_inside else f"{place}/{package}"
    with pytest.raises(UserError, match=rf"DVC would not see .*dvc\.yaml: - {dependency}/__init__\.py$"):
        hash_stages()
    text = GRAPH.read_text(encoding="utf-8")
    GRAPH.write_text(text.replace("      - src\n", f"      - src\n      - {dependency}\n"))
    assert f"{package}.helper" in modules_of(hash_stages()["build_memory"])


def test_what_is_no_code_to_watch() -> None:
    before = hash_stages()
    for text in ("no_such.module:function", "herding"):  # the check of names refuses the first
        name_function("memory.selection", text)
        assert hash_stages() == before
    name_function("memory.selection", "os:getcwd")
    with pytest.raises(UserError, match=r"^params\.yaml: memory\.selection: 'os' is Python's own; write"):
        hash_stages()


def test_what_a_checkpoint_names_is_imported_for_a_command_only_if_params_yaml_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "own.names", raising=False)
    refused = r"^file: .*; import own\.names first, if .* what the params\.yaml of the"
    with pytest.raises(UserError, match=refused), importing_named():
        check_imported("own.names:function", "file")
    name_function("network.backbone")
    with importing_named():
        check_imported("own.names:function", "file")
    monkeypatch.delitem(sys.modules, "own.names")


def test_an_edit_before_the_stage_starts() -> None:
    edit("# A remark")
    given = Given(STAGE)
    given.confirm()
    assert given.text == fingerprint(STAGE).read_text(encoding="utf-8")
    edit()
    with pytest.raises(UserError, match=f"^split:{EDITED}"):
        Given(STAGE)
    Given("initialize")  # is none of its code
    assert STAGE in write_fingerprints(read_code(STAGES))
    Given(STAGE)


@pytest.mark.parametrize("when", ["after it was imported", "before", "it is gone before"])
def test_an_edit_while_the_stage_runs(when: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE)  # as in a process that has not imported it yet
    given = Given(STAGE)
    if when == "after it was imported":
        monkeypatch.setitem(sys.modules, MODULE, sys)
        given.confirm()
        edit()
        given.confirm()  # it runs what it has loaded
        return
    edit()
    if when == "it is gone before":
        (project / "src/der/data/protocol.py").unlink()
    given.confirm()  # not of what it has loaded
    monkeypatch.setitem(sys.modules, MODULE, sys)
    with pytest.raises(UserError, match=f"^split:{EDITED}"):
        given.confirm()


def test_a_fingerprint_that_is_damaged_or_missing_is_no_edit() -> None:
    text = bytearray(fingerprint(STAGE).read_bytes())
    text[100] ^= 0x80
    fingerprint(STAGE).write_bytes(text)
    with pytest.raises(DamageError, match=r"^data/fingerprints/split: damaged, its bytes are not those that"):
        Given(STAGE)
    assert write_fingerprints(read_code(STAGES)) == [STAGE]
    Given(STAGE)
    fingerprint(STAGE).unlink()
    message = r"^data/fingerprints/split: missing; run `dvc repro`, without --single-item$"
    with pytest.raises(UserError, match=message):
        Given(STAGE)


def test_fingerprints_are_written_when_they_are_new() -> None:
    before = FINGERPRINTS.stat()
    assert write_fingerprints(read_code(STAGES)) == []
    assert FINGERPRINTS.stat().st_ino == before.st_ino
    assert write_fingerprints(read_code([STAGE])) == []  # stages less
    assert [path.name for path in FINGERPRINTS.iterdir()] == [STAGE]


def test_an_edit_while_check_reads() -> None:
    texts = read_code([STAGE])
    edit()
    with pytest.raises(UserError, match=r"^src: edited while stage check read it; run `dvc repro` again$"):
        write_fingerprints(texts)
