"""What modules say is parsed once, and no fingerprint depends on what was kept of it."""

import ast
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from der.pipeline import fingerprint
from der.pipeline.environment import SCRATCH
from der.pipeline.fingerprint import hash_modules, known_before, understood
from der.pipeline.kept_code import FILE, keep, recall
from tests.locations import ROOT

SCRIPT = "stages.split"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What another process has kept of a copy of the code, which is the current directory; none is known."""
    for name in ("src/der", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SCRATCH, str(tmp_path / "scratch"))
    known = dict(understood)
    forget()
    hash_modules(SCRIPT)
    keep()
    forget()
    yield tmp_path / "scratch" / FILE
    forget()
    understood.update(known)


def forget() -> None:
    """As in a new process."""
    understood.clear()
    known_before.clear()


def test_what_is_kept_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hash_modules(SCRIPT)
    forget()
    recall()
    monkeypatch.setattr(ast, "parse", forbidden)
    assert hash_modules(SCRIPT) == expected


def forbidden(*_: object) -> NoReturn:
    raise AssertionError("parsed")


@pytest.mark.parametrize("line", ["edited = True", "from der.data.sources import builtin"])
def test_an_edit_is_seen(line: str) -> None:
    before = hash_modules(SCRIPT)
    forget()
    recall()
    with Path("stages/split.py").open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    after = hash_modules(SCRIPT)
    assert before["stages.split"] != after["stages.split"]
    assert ("der.data.sources.builtin" in after) == ("builtin" in line)


def test_older_code_is_not_kept(kept: Path) -> None:
    hash_modules(SCRIPT)
    count = len(understood)
    forget()
    recall()
    with Path("stages/split.py").open("a", encoding="utf-8") as stream:
        stream.write("edited = True\n")
    hash_modules(SCRIPT)
    keep()
    forget()
    recall()
    assert len(known_before) == count


def test_other_rules_know_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    recall()
    monkeypatch.setattr(fingerprint, "_MADE_BY", hashlib.sha256(b"other rules"))
    monkeypatch.setattr(ast, "parse", forbidden)
    with pytest.raises(AssertionError, match="parsed"):
        hash_modules(SCRIPT)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"digest": "", "values": {"a": 3}}'])
def test_what_is_damaged_is_parsed_anew(content: bytes, kept: Path) -> None:
    expected = hash_modules(SCRIPT)
    forget()
    kept.write_bytes(content)
    recall()
    assert not known_before and hash_modules(SCRIPT) == expected


def test_a_flipped_bit_is_noticed(kept: Path) -> None:
    content = kept.read_bytes()
    position = content.index(hash_modules(SCRIPT)["stages.split"].encode())
    kept.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    forget()
    recall()
    assert not known_before


def test_nothing_is_kept_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    monkeypatch.setenv(SCRATCH, str(kept / "below a file"))
    hash_modules(SCRIPT)
    keep()
    recall()
    monkeypatch.setenv(SCRATCH, "~nobody-of-that-name/x")
    keep()
    recall()
