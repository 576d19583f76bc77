"""Dictionaries to sections: what is accepted, and the sentence for what is not."""

import re
from typing import Any, Literal

import pytest

from der.core.errors import UserError
from der.settings.parsing import list_missing, parse
from der.settings.sections import Section


class Inner(Section, frozen=True):
    rate: float
    count: int

    def __post_init__(self) -> None:
        if self.count == 13:
            raise UserError("count: 13 brings bad luck; write 12")


class Outer(Section, frozen=True):
    name: str
    flag: bool
    kind: Literal["a", "b", 3]
    numbers: list[int]
    either: list[int | str] | None
    inner: Inner
    maybe: Inner | None = None


def values(**changes: Any) -> dict[str, Any]:
    inner = {"rate": 0.5, "count": 2} | changes.pop("inner", {})
    rest = {"name": "x", "flag": True, "kind": "a", "numbers": [1, 2], "either": None, "maybe": None}
    return rest | {"inner": inner} | changes


def test_what_fits_becomes_the_section() -> None:
    content = values(either=[1, "p"], maybe={"rate": 1, "count": 2})
    assert parse(Outer, content) == Outer("x", True, "a", [1, 2], [1, "p"], Inner(0.5, 2), Inner(1.0, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "name: 3 does not fit; write text (in quotes)"),
        ({"name": None}, "name: is empty; write text (in quotes)"),
        ({"flag": 1}, "flag: 1 does not fit; write true or false"),
        ({"kind": "c"}, "kind: 'c' does not fit; write 3 or a or b"),
        ({"kind": True}, "kind: True does not fit; write 3 or a or b"),
        ({"kind": ["a"]}, "kind: ['a'] does not fit; write 3 or a or b"),
        ({"numbers": 1}, "numbers: 1 does not fit; write a list ([...]), each entry a whole number"),
        ({"numbers": [1, "2"]}, "numbers[1]: '2' does not fit; write a whole number"),
        ({"numbers": [True]}, "numbers[0]: True does not fit; write a whole number"),
        ({"either": [1, 0.5]}, "either[1]: 0.5 does not fit; write a whole number or text (in quotes)"),
        (
            {"either": "p" * 99},
            f"either: '{'p' * 56}... does not fit; write a list ([...]), each entry a whole number or text "
            "(in quotes) or null",
        ),
        ({"inner": {"count": 1.0}}, "inner.count: 1.0 does not fit; write a whole number"),
        ({"inner": {"rate": "5e-4"}}, "inner.rate: '5e-4' does not fit; write a number"),
        ({"inner": {"rate": False}}, "inner.rate: False does not fit; write a number"),
        ({"inner": {"count": 13}}, "inner.count: 13 brings bad luck; write 12"),
        ({"inner": {"raet": 1}}, "inner.raet: unknown key; did you mean rate?"),
        ({"inner": {7: 1}}, "inner.7: unknown key; known here: rate, count"),
        ({"maybe": {"rate": 0.5}}, "maybe.count: missing; add it with a whole number"),
        ({"maybe": 5}, "maybe: 5 does not fit; write the keys rate, count or null"),
    ],
)
def test_a_fault_is_named_with_what_to_write(changes: dict[str, Any], message: str) -> None:
    for where, start in (("", ""), ("net.json", "net.json.")):
        with pytest.raises(UserError) as caught:
            parse(Outer, values(**changes), where)
        assert str(caught.value) == start + message


@pytest.mark.parametrize(("value", "found"), [(None, "is empty"), (5, "5 does not fit")])
def test_a_whole_that_is_no_section(value: Any, found: str) -> None:
    for where in ("", "net.json"):
        with pytest.raises(UserError) as caught:
            parse(Inner, value, where)
        assert str(caught.value) == f"{where or 'the file'}: {found}; write the keys rate, count"


def test_a_missing_key_is_named_with_what_to_add() -> None:
    hints = {"name": "text (in quotes)", "inner": "the keys rate, count", "kind": "3 or a or b"}
    for missing, hint in hints.items():
        with pytest.raises(UserError, match=f"^{missing}: missing; add it with {re.escape(hint)}$"):
            parse(Outer, {key: value for key, value in values().items() if key != missing})


def test_missing_keys_are_listed_with_those_above_them() -> None:
    whole = {"a": 1, "b": {"c": None, "d": {"e": 2}}, "f": {"g": 3}}
    assert list_missing(whole, {"a": None, "b": {"d": {}}, "more": 4}) == ["b.c", "b.d.e", "f"]
    assert list_missing(whole, whole) == []
