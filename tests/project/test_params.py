"""The text of params.yaml: what cannot be read, or DVC would read otherwise, is one sentence."""

from pathlib import Path

import pytest

from der.common.errors import UserError
from der.project.editing import put_values
from der.project.params import load_settings
from tests.locations import ROOT

COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")
LINE = COMMITTED[: COMMITTED.index("  budget: 200")].count("\n") + 1


def with_budget(text: str) -> str:
    assert "budget: 200 " in COMMITTED
    return COMMITTED.replace("budget: 200 ", f"budget: {text} ")


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("text", "budget"), [("200", 200), ("0x10", 16), ("1_000", 1000), ("+5", 5)])
def test_what_dvc_reads_alike_is_read(text: str, budget: int, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("\ufeff" + with_budget(text), encoding="utf-8")
    assert load_settings(path).memory.budget == budget


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2024-02-31", f"line {LINE}: '2024-02-31' is no timestamp; correct it or put it in quotes"),
        ("!!int abc", f"line {LINE}: 'abc' is no int; correct it or put it in quotes"),
        ("!!bool abc", f"line {LINE}: 'abc' is no bool; correct it or put it in quotes"),
        ("!!int [1]", "expected a scalar node"),
        ("9" * 5000, f"line {LINE}: '99999"),
        ("[" * 3000, "nested too deeply"),
        ("010", f"line {LINE}: '010' is another number to DVC; write it without leading zeros or ':'"),
        ("1:30", f"line {LINE}: '1:30' is another number to DVC"),
        ("1:30.5", f"line {LINE}: '1:30.5' is another number to DVC"),
        ("1\n  budget: 200", f"line {LINE + 1}: 'budget' stands twice; remove one"),
        ("{a: 1, a: 1}", f"line {LINE}: 'a' stands twice; remove one"),
    ],
)
def test_a_value_that_is_none_is_named_by_its_line(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(with_budget(text), encoding="utf-8")
    assert message(path).startswith(f"not valid YAML ({fault}")
    with pytest.raises(UserError, match=r"^params\.yaml: not valid YAML \("):
        put_values(path.read_text(encoding="utf-8"), {})


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED + "# Größe\n", encoding=encoding)
    assert message(path) == "not UTF-8; save it in that encoding"


def test_no_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    assert message(tmp_path / "params.yaml") == "not found; run from the repository's root"
    (tmp_path / "params.yaml").mkdir()
    assert message(tmp_path / "params.yaml") == "cannot be read (Is a directory); put the file there"
