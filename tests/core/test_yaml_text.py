"""Both readers of YAML see the same in what DVC writes, and say the same of what is none."""

import math
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import UserError
from der.settings.yaml import parse_written, parse_yaml

LOCK = Path("dvc.lock")
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ant: 0#1-e.\n'\"é")
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a1"), inner)
)
FORMS = ("1e3", "1E-3", "0o17", "017", "1_000", "yes", "no", "on", "~", "null", ".inf", "2024-01-01", "12:30")


@given(TREES)
def test_what_dvc_writes(tree: object) -> None:
    text = dumps_yaml({"stages": tree})
    assert parse_written(text, LOCK) == parse_yaml(text, LOCK) == {"stages": tree}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_scalar(form: str) -> None:
    one, other = (parse(f"value: {form}", LOCK)["value"] for parse in (parse_written, parse_yaml))
    assert type(one) is type(other) and one == other
    assert not isinstance(one, float) or not math.isnan(one)


@pytest.mark.parametrize(
    "text", ["stages: [", "a: b: c", "\tstages:", "stages: \x00", "[" * 3000 + "]" * 3000]
)
def test_what_is_no_yaml(text: str) -> None:
    for parse in (parse_written, parse_yaml):
        with pytest.raises(UserError, match=r"^dvc\.lock: not valid YAML \([^\n]+\)$"):
            parse(text, LOCK)


def test_what_one_reader_changes_another_does_not_see() -> None:
    for parse in (parse_written, parse_yaml):
        parse("stages: {report: [1]}", LOCK)["stages"]["report"].append(2)
        assert parse("stages: {report: [1]}", LOCK) == {"stages": {"report": [1]}}
