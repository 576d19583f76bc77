"""What stages read of params.yaml and data/input.json, and how differences of values are shown."""

import re
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.pipeline.project import (
    INPUT,
    PARAMS,
    load_section,
    parse_section,
    read_names,
    read_params,
    read_stages,
    shorten,
    value_at,
    with_side,
    write_side,
)
from der.settings.experiment import Settings, preset
from der.settings.sections import PhaseSettings
from tests.locations import ROOT

COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with params.yaml, as the current one."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(COMMITTED, encoding="utf-8")
    return tmp_path


def test_every_parameter_that_dvc_reads_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    listed = {key for one in read_stages().values() for key in read_names(one.get("do", one), "params")}
    named = {key.replace("${item.phase}", phase) for key in listed for phase in ("base", "incremental")}
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
    ("content", "message"),
    [
        (None, "not found; run from the repository's root"),
        (COMMITTED.encode("utf-16"), "not UTF-8; save it in that encoding"),
        (b"", "holds no keys and values; restore it with `git checkout params.yaml`"),
        (b"[1]", "holds no keys and values; restore it with `git checkout params.yaml`"),
        (b"train: 5\n", "train.base: is empty; write the keys epochs, "),
        (COMMITTED.replace("epochs: 40 ", "epochs: 0 ").encode(), "train.base.epochs: 0 is out of range; "),
    ],
)
def test_what_a_stage_cannot_read(content: bytes | None, message: str) -> None:
    Path("params.yaml").unlink()
    if content is not None:
        Path("params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape('params.yaml: ' + message)}"):
        load_section(PhaseSettings, "train", "base")


def test_the_side_that_is_written_is_read() -> None:
    dataset = preset("photos").dataset
    with pytest.raises(UserError, match=r"^data/input\.json: cannot be read"):
        with_side(dataset)
    write_side(224)
    assert with_side(dataset).side == 224
    before = INPUT.stat().st_ino
    write_side(224)
    assert INPUT.stat().st_ino == before  # the same file: what depends on it need not be looked at again
    write_side(None)
    with pytest.raises(UserError, match=r"^data/input\.json: holds no side; run `dvc repro`, without"):
        with_side(dataset)
    digits = preset("digits").dataset
    assert with_side(digits) is digits


STEPS = [[f"name {step}-{label}" for label in range(25)] for step in range(5)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        ({"sharpness": 2, "mean": None}, "{sharpness: 2, mean: null}"),
        (["a", "b, c", "d", "e"], "[a, 'b, c', d, e]"),
        ([f"class, {label}" for label in range(100)], "['class, 0', 'class, 1', 'class, 2', ... 100 in all]"),
        ([["a", "b"]] * 20, "[[a, b], [a, b], [a, b], ... 20 in all]"),
        (STEPS[:1], "[[name 0-0, name 0-1, name 0-2, ... 25 in all]]"),
    ],
)
def test_long_lists_are_cut_at_every_depth(value: object, text: str) -> None:
    assert shorten(value) == text
