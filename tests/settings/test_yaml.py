"""YAML is read as DVC reads it, and written with its comments."""

from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, loads_yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from der.core.errors import UserError
from der.settings.parsing import parse_yaml, put_values
from tests.examples_drawn import examples

FILE = Path("params.yaml")
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ant: 0#1-e.\n'\"é")
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a1"), inner)
)


@given(TREES)
@settings(max_examples=examples(30))
def test_what_dvc_writes(tree: object) -> None:
    assert parse_yaml(dumps_yaml({"stages": tree}), FILE) == {"stages": tree}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("5e-4", 5e-4),
            ("1E-3", 1e-3),
            ("0o17", 15),
            ("017", 17),
            ("0x10", 16),
            ("1_000", 1000),
            ("+5", 5),
        ),
        *(("yes", "yes"), ("on", "on"), ("~", None), ("null", None), ("true", True), (".inf", float("inf"))),
        *(("1:30", "1:30"), ("<<<", "<<<"), ("a b", "a b"), ("'5'", "5")),
    ],
)
def test_forms_of_scalars(text: str, value: Any) -> None:
    found = parse_yaml(f"\ufeffvalue: {text}", FILE)
    assert found == {"value": value} == loads_yaml(f"value: {text}")
    assert type(found["value"]) is type(value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("stages: [", "line "),
        ("a:\n\tb: 2", "line 2: found character .*that cannot start any token"),
        ("a: b: c", "line 1: mapping values are not allowed "),
        ("a: 1\nb: 2\na: 3", 'line 3: found duplicate key "a"'),
        ("a: 2024-02-31", "day "),
        ("a: !mine 1", "line 1: could not determine a constructor for the tag"),
        ("a: \x00", "unacceptable character"),
        ("--- a\n--- b\n", "line 2: but found another document"),
    ],
)
def test_what_is_no_yaml(text: str, fault: str) -> None:
    with pytest.raises(UserError, match=rf"^params\.yaml: not valid YAML \({fault}[^\n]*\)$"):
        parse_yaml(text, FILE)


TEXT = """\
# about all

protocol:
  steps: null   # beside steps

memory: {budget: 3}  # beside memory
train:  # beside train
  # above rate
  rate: 5.0e-4  # beside rate
  list: [1, 2]
# at the end
"""
EDITED = """\
# about all

protocol:
  steps: [[a, "b:c"], ['1']] # beside steps

memory: {budget: 4}  # beside memory
train:  # beside train
  # above rate
  rate: 5.0e-4  # beside rate
  list: [3]
# at the end
"""


def test_single_values_are_set_and_comments_kept() -> None:
    values: dict[str, Any] = {"protocol": {"steps": [["a", "b:c"], ["1"]]}, "memory": {"budget": 4}}
    assert put_values(TEXT, values | {"train": {"list": [3], "rate": 5e-4}}) == EDITED
    assert put_values(TEXT, {}) == TEXT


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=9)  # as of folders
ODD = st.sampled_from(
    [*"9-~", *("null", "yes", "1e3", "=1", "#1", "a: b", "- a", "it's", '"', "*a", "<<", "a:b", "1:30", ":a")]
)


@given(st.lists(NAMES | ODD, min_size=1, max_size=5, unique=True))
@settings(max_examples=examples(20))
@example(["x?", "?x", "a, b", "[a]", "-", "a #b", "{a}", "a:b", "1:30", ":a"])
def test_any_names_come_back_as_dvc_reads_them(names: list[str]) -> None:
    edited = put_values(TEXT, {"protocol": {"steps": [names]}})
    expected = parse_yaml(TEXT, FILE) | {"protocol": {"steps": [names]}}
    assert parse_yaml(edited, FILE) == loads_yaml(edited) == expected
    assert edited.count(" # beside steps\n\nmemory:") == 1
