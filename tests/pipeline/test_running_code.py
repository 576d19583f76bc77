"""Nothing is cached under the wrong code: a stage's code against the fingerprint that check wrote."""

import shutil
import sys
from pathlib import Path

import pytest

from der.core.errors import DamageError, UserError
from der.core.registry import imported_own
from der.data import protocol
from der.pipeline.fingerprint import hash_modules
from der.pipeline.fingerprint_files import read_code, write_fingerprints
from der.pipeline.paths import FINGERPRINTS, fingerprint
from der.pipeline.running_code import RunningCode
from tests.locations import ROOT

STAGE = "split"
MODULE = protocol.__name__  # which split imports
EDITED = (
    r"^split: its code has been edited since stage check read it; run `dvc repro`, without --single-item$"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code with fingerprints, in which stages run."""
    for name in ("src/der", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    assert write_fingerprints(read_code([STAGE, "initialize"])) == [STAGE, "initialize"]
    return tmp_path


def edit(project: Path, name: str = MODULE, line: str = "edited = True") -> None:
    with (project / "src" / name.replace(".", "/")).with_suffix(".py").open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a process that has not imported MODULE yet."""
    monkeypatch.delitem(sys.modules, MODULE)
    return monkeypatch


def load(patch: pytest.MonkeyPatch) -> None:
    """As if it was imported now."""
    patch.setitem(sys.modules, MODULE, sys)


@pytest.mark.usefixtures("project")
def test_code_that_check_has_read() -> None:
    code = RunningCode(STAGE)
    code.confirm()
    assert code.text == fingerprint(STAGE).read_text(encoding="utf-8")


def test_an_edit_before_the_stage_starts(project: Path) -> None:
    edit(project)
    with pytest.raises(UserError, match=EDITED):
        RunningCode(STAGE)
    RunningCode("initialize")  # is none of its code
    assert write_fingerprints(read_code([STAGE, "initialize"])) == [STAGE]
    RunningCode(STAGE)


def test_an_edit_that_says_the_same(project: Path) -> None:
    edit(project, line="# A remark")
    RunningCode(STAGE).confirm()


def test_an_edit_while_the_stage_runs(project: Path, lazy: pytest.MonkeyPatch) -> None:
    code = RunningCode(STAGE)
    load(lazy)
    code.confirm()
    edit(project)
    code.confirm()  # it runs what it has loaded


def test_an_edit_before_a_module_is_imported(project: Path, lazy: pytest.MonkeyPatch) -> None:
    code = RunningCode(STAGE)
    edit(project)
    code.confirm()  # not of what it has loaded
    load(lazy)
    with pytest.raises(UserError, match=EDITED):
        code.confirm()


def test_all_code_is_loaded_before_the_work_begins(project: Path, lazy: pytest.MonkeyPatch) -> None:
    code = RunningCode(STAGE)
    imported: list[str] = []
    lazy.setattr("importlib.import_module", lambda name: (imported.append(name), load(lazy)))
    code.load("cpu")
    assert MODULE in imported and set(imported) == {
        name for name in code.hashes if name.partition(".")[0] == "der"
    }
    edit(project)
    code.confirm()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_kernels_are_loaded_where_their_device_is(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(RunningCode, "__init__", lambda code: None)
    code = RunningCode()  # type: ignore[call-arg]
    code.hashes, code.confirmed = hash_modules("stages.train_task"), set(sys.modules)
    code.earlier = frozenset(imported_own)
    imported: list[str] = []
    monkeypatch.setattr("importlib.import_module", imported.append)
    code.load(device)
    assert ("der.model.kernels.triton" in imported) == (device == "cuda")
    assert "der.train.rebalancing" in imported


def test_a_module_that_is_gone_before_the_end(project: Path, lazy: pytest.MonkeyPatch) -> None:
    code = RunningCode(STAGE)
    load(lazy)
    (project / "src/der/data/protocol.py").unlink()
    with pytest.raises(UserError, match=EDITED):
        code.confirm()


def test_without_a_fingerprint(project: Path) -> None:
    fingerprint(STAGE).unlink()
    message = r"^data/fingerprints/split: missing; run `dvc repro`, without --single-item$"
    with pytest.raises(UserError, match=message):
        RunningCode(STAGE)


@pytest.mark.parametrize("place", [0, 100, -2])
def test_a_fingerprint_that_is_damaged_is_no_edit(place: int, project: Path) -> None:
    text = bytearray(fingerprint(STAGE).read_bytes())
    text[place] ^= 0x80
    fingerprint(STAGE).write_bytes(text)
    with pytest.raises(DamageError, match=r"^data/fingerprints/split: damaged, its bytes are not those that"):
        RunningCode(STAGE)
    assert write_fingerprints(read_code([STAGE, "initialize"])) == [STAGE]
    RunningCode(STAGE)


def test_fingerprints_are_written_when_they_are_new(project: Path) -> None:
    before = FINGERPRINTS.stat()
    assert write_fingerprints(read_code([STAGE, "initialize"])) == []
    assert FINGERPRINTS.stat().st_ino == before.st_ino
    assert write_fingerprints(read_code([STAGE])) == []  # a stage less
    assert [path.name for path in FINGERPRINTS.iterdir()] == [STAGE]


def test_an_edit_while_check_reads(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(project)

    def edit_again(text: str) -> None:
        edit(project)

    monkeypatch.setattr(
        Path, "write_text", lambda path, text, **_: path.write_bytes(text.encode()) and edit_again(text)
    )
    with pytest.raises(UserError, match=r"^src: edited while stage check read it; run `dvc repro` again$"):
        write_fingerprints(read_code([STAGE]))
