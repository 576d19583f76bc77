"""The text of params.yaml: what cannot be read, or DVC would read otherwise, is one sentence."""

import re
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml

from der.core.errors import UserError
from der.pipeline.expanded_graph import expand_graph
from der.pipeline.params import load_section, parse_section, read_params, value_at
from der.pipeline.paths import PARAMS
from der.pipeline.presets import load_settings
from der.settings.experiment import Settings
from der.settings.sections import DatasetSettings
from der.settings.training import PhaseSettings
from der.settings.yaml import put_values
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


def test_every_parameter_that_dvc_reads_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    named = {key for node in expand_graph().values() for key in node.params}
    assert {"network.tuned", "network.weights", "train.base", "memory"} <= named
    for key in sorted(named | {key for one in named for key in keys_below(one)}):
        content: Any = read_params()
        *sections, last = key.split(".")
        del reduce(getitem, sections, content)[last]
        with pytest.raises(UserError, match=rf"^params\.yaml: {re.escape(key)}: missing; add it with "):
            parse_section(Settings, content, PARAMS)


def keys_below(key: str) -> list[str]:
    value = value_at(read_params(), key)
    names = [f"{key}.{name}" for name in value] if isinstance(value, dict) else []
    return [*names, *(one for name in names for one in keys_below(name))]


@pytest.mark.parametrize(
    ("text", "budget"), [("200", 200), ("0x10", 16), ("1_000", 1000), ("+5", 5), ("010", 10), ("0o10", 8)]
)
def test_a_number_is_the_one_that_dvc_reads(text: str, budget: int, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("\ufeff" + with_budget(text), encoding="utf-8")
    assert load_settings(path).memory.budget == budget
    assert read_params(path) == load_yaml(str(path))


def test_what_dvc_reads_as_text_is_text(tmp_path: Path) -> None:
    for text in ("1:30", "1:30.5", "yes", "<<<"):
        path = tmp_path / "params.yaml"
        path.write_text(with_budget(text), encoding="utf-8")
        assert message(path).startswith(f"memory.budget: '{text}' does not fit; write a whole number")
        assert read_params(path) == load_yaml(str(path))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2024-02-31", f"line {LINE}: '2024-02-31' is no timestamp; correct it or put it in quotes"),
        ("2024-02-01T99:00:00", f"line {LINE}: '2024-02-01T99:00:00' is no timestamp"),
        ("!!int abc", f"line {LINE}: 'tag:yaml.org,2002:int' is a tag; write the value without it"),
        ("!!set {1, 2}", f"line {LINE}: 'tag:yaml.org,2002:set' is a tag; write the value without it"),
        ("!mine 1", f"line {LINE}: '!mine' is a tag; write the value without it"),
        ("&b 1", f"line {LINE}: 'b' is an anchor or alias; write the value itself"),
        ("*b", f"line {LINE}: 'b' is an anchor or alias; write the value itself"),
        ("1\n  <<: {a: 1}", f"line {LINE + 1}: << merges keys; write them out"),
        ("9" * 5000, f"line {LINE}: '99999"),
        ("[" * 3000, f"line {LINE}: nested more than 50 levels deep"),
        ("1\n  budget: 200", f"line {LINE + 1}: 'budget' stands twice; remove one"),
        ("{a: 1, a: 1}", f"line {LINE}: 'a' stands twice; remove one"),
        ("{[a]: 1}: 2", f"line {LINE}: "),
        ("{? {a: 1} : 2}", f"line {LINE}: "),
        ("[1", "line "),
        ("\x00", ""),
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


def test_aliases_that_would_fill_the_memory_are_refused_before_they_do(tmp_path: Path) -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(rows), encoding="utf-8")
    assert message(path) == "not valid YAML (line 1: 'a0' is an anchor or alias; write the value itself)"


@pytest.mark.parametrize("text", ["", "# nothing\n", "5", "[1]", "--- a\n--- b\n"])
def test_what_holds_no_keys_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert message(path).startswith(("holds no keys and values", "not valid YAML ("))


def test_a_stage_reads_its_own_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(with_budget("many"), encoding="utf-8")  # of no concern to these
    assert load_section(DatasetSettings, "dataset").image_side == 8
    assert load_section(PhaseSettings, "train", "base").epochs == 40
    Path("params.yaml").write_text(COMMITTED.replace("epochs: 40 ", "epochs: 0 "), encoding="utf-8")
    with pytest.raises(UserError, match=r"^params\.yaml: train\.base\.epochs: 0 is out of range; write "):
        load_section(PhaseSettings, "train", "base")
    Path("params.yaml").write_text("train: 5\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^params\.yaml: train\.base: is empty; write keys and values$"):
        load_section(PhaseSettings, "train", "base")
