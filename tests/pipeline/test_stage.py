"""Nothing is cached under the wrong code: what a stage runs against the fingerprint that check wrote."""

import shutil
import sys
from pathlib import Path

import pytest

from der.core.errors import DamageError, UserError
from der.data import protocol
from der.pipeline.fingerprint import read_code, write_fingerprints
from der.pipeline.project import FINGERPRINTS, fingerprint
from der.pipeline.stage import Given
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


def edit(project: Path, line: str = "print()") -> None:
    with (
        (project / "src" / MODULE.replace(".", "/")).with_suffix(".py").open("a", encoding="utf-8") as stream
    ):
        stream.write(f"\n{line}\n")


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a process that has not imported MODULE yet."""
    monkeypatch.delitem(sys.modules, MODULE)
    return monkeypatch


def load(patch: pytest.MonkeyPatch) -> None:
    """As if it was imported now."""
    patch.setitem(sys.modules, MODULE, sys)


def test_an_edit_before_the_stage_starts(project: Path) -> None:
    edit(project, "# A remark")
    given = Given(STAGE)
    given.confirm()
    assert given.text == fingerprint(STAGE).read_text(encoding="utf-8")
    edit(project)
    with pytest.raises(UserError, match=EDITED):
        Given(STAGE)
    Given("initialize")  # is none of its code
    assert write_fingerprints(read_code([STAGE, "initialize"])) == [STAGE]
    Given(STAGE)


def test_an_edit_while_the_stage_runs(project: Path, lazy: pytest.MonkeyPatch) -> None:
    given = Given(STAGE)
    load(lazy)
    given.confirm()
    edit(project)
    given.confirm()  # it runs what it has loaded


@pytest.mark.parametrize("gone", [False, True])
def test_an_edit_before_a_module_is_imported(gone: bool, project: Path, lazy: pytest.MonkeyPatch) -> None:
    given = Given(STAGE)
    edit(project)
    if gone:
        (project / "src/der/data/protocol.py").unlink()
    given.confirm()  # not of what it has loaded
    load(lazy)
    with pytest.raises(UserError, match=EDITED):
        given.confirm()


def test_without_a_fingerprint(project: Path) -> None:
    fingerprint(STAGE).unlink()
    message = r"^data/fingerprints/split: missing; run `dvc repro`, without --single-item$"
    with pytest.raises(UserError, match=message):
        Given(STAGE)


def test_a_fingerprint_that_is_damaged_is_no_edit(project: Path) -> None:
    text = bytearray(fingerprint(STAGE).read_bytes())
    text[100] ^= 0x80
    fingerprint(STAGE).write_bytes(text)
    with pytest.raises(DamageError, match=r"^data/fingerprints/split: damaged, its bytes are not those that"):
        Given(STAGE)
    assert write_fingerprints(read_code([STAGE, "initialize"])) == [STAGE]
    Given(STAGE)


def test_fingerprints_are_written_when_they_are_new(project: Path) -> None:
    before = FINGERPRINTS.stat()
    assert write_fingerprints(read_code([STAGE, "initialize"])) == []
    assert FINGERPRINTS.stat().st_ino == before.st_ino
    assert write_fingerprints(read_code([STAGE])) == []  # a stage less
    assert [path.name for path in FINGERPRINTS.iterdir()] == [STAGE]


def test_an_edit_while_check_reads(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = read_code([STAGE])
    edit(project)
    with pytest.raises(UserError, match=r"^src: edited while stage check read it; run `dvc repro` again$"):
        write_fingerprints(texts)
