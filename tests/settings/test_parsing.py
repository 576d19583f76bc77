"""Dictionaries to sections: what is accepted, and the sentence for what is not."""

from typing import Any, Literal

import pytest

from der.core.errors import UserError
from der.settings.parsing import parse
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
    maybe: Inner | None


def values(**changes: Any) -> dict[str, Any]:
    inner = {"rate": 0.5, "count": 2} | changes.pop("inner", {})
    rest = {"name": "x", "flag": True, "kind": "a", "numbers": [1, 2], "either": None, "maybe": None}
    return rest | {"inner": inner} | changes


def test_a_full_dictionary_becomes_the_section() -> None:
    assert parse(Outer, values()) == Outer("x", True, "a", [1, 2], None, Inner(0.5, 2), None)


@pytest.mark.parametrize("either", [None, [], [1, 2], ["p", "q"]])
def test_every_option_of_a_union_is_accepted(either: Any) -> None:
    assert parse(Outer, values(either=either)).either == either


def test_a_section_that_may_be_null_is_accepted_and_its_faults_are_named() -> None:
    assert parse(Outer, values(maybe={"rate": 0.5, "count": 2})).maybe == Inner(0.5, 2)
    for maybe, message in (
        ({"rate": 0.5}, r"maybe\.count: missing; add it with a whole number"),
        ({"rate": 0.5, "counts": 2}, r"maybe\.counts: unknown key; did you mean count\?"),
        ({"rate": 0.5, "count": 13}, r"maybe\.count: 13 brings bad luck; write 12"),
        (5, r"maybe: 5 does not fit; write the keys rate, count or null"),
    ):
        with pytest.raises(UserError, match=f"^{message}$"):
            parse(Outer, values(maybe=maybe))


@pytest.mark.parametrize(
    ("written", "number"),
    [(3, 3.0), (0.25, 0.25), (2**70, 2.0**70)],
)
def test_a_number_may_be_written_whole(written: Any, number: float) -> None:
    rate = parse(Outer, values(inner={"rate": written})).inner.rate
    assert rate == number
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, r"name: 3 does not fit; write text \(in quotes\)"),
        ({"name": None}, r"name: is empty; write text \(in quotes\)"),
        ({"flag": 1}, "flag: 1 does not fit; write true or false"),
        ({"flag": "yes"}, "flag: 'yes' does not fit; write true or false"),
        ({"kind": "c"}, "kind: 'c' does not fit; write a or b or 3"),
        ({"kind": ["a"]}, r"kind: \['a'\] does not fit; write a or b or 3"),
        ({"numbers": 1}, r"numbers: 1 does not fit; write a list \(\[\.\.\.\]\), each entry a whole number"),
        ({"numbers": [1, "2"]}, r"numbers\[1\]: '2' does not fit; write a whole number"),
        ({"numbers": [True]}, r"numbers\[0\]: True does not fit; write a whole number"),
        ({"either": [1, 0.5]}, r"either\[1\]: 0\.5 does not fit; write a whole number or text \(in quotes\)"),
        ({"either": 1}, r"either: 1 does not fit; write a list \(\[\.\.\.\]\), each entry .* or null"),
        ({"either": "p" * 99}, r"either: 'p{56}\.\.\. does not fit"),
        ({"inner": {"count": 1.0}}, r"inner\.count: 1\.0 does not fit; write a whole number"),
        ({"inner": {"count": True}}, r"inner\.count: True does not fit; write a whole number"),
        ({"inner": {"count": "5e1"}}, r"inner\.count: '5e1' does not fit; write a whole number"),
        ({"inner": {"rate": False}}, r"inner\.rate: False does not fit; write a number"),
        ({"inner": {"rate": "0.1"}}, r"inner\.rate: '0\.1' does not fit; write a number"),
        ({"inner": {"rate": "5e-4"}}, r"inner\.rate: '5e-4' does not fit; write a number"),
        ({"inner": {"count": 13}}, r"inner\.count: 13 brings bad luck; write 12"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_write(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        parse(Outer, values(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [True, 3.0])
def test_a_literal_is_matched_by_type_too(kind: Any) -> None:
    with pytest.raises(UserError, match=rf"^kind: {kind} does not fit; write a or b or 3$"):
        parse(Outer, values(kind=kind))


def test_a_section_that_is_no_dictionary_is_named() -> None:
    with pytest.raises(UserError, match=r"^inner: 5 does not fit; write keys and values$"):
        parse(Outer, {**values(), "inner": 5})
    with pytest.raises(UserError, match=r"^the file: is empty; write keys and values$"):
        parse(Outer, None)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("raet", r"inner\.raet: unknown key; did you mean rate\?"),
        (7, "inner.7: unknown key; known here: rate, count"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(key: Any, hint: str) -> None:
    with pytest.raises(UserError, match=f"^{hint}$"):
        parse(Outer, values(inner={key: 1}))


@pytest.mark.parametrize(
    ("missing", "hint"),
    [
        ("name", r"name: missing; add it with text \(in quotes\)"),
        ("inner", "inner: missing; add it with the keys rate, count"),
        ("kind", "kind: missing; add it with a or b or 3"),
    ],
)
def test_a_missing_key_is_named_with_what_to_add(missing: str, hint: str) -> None:
    rest = {key: value for key, value in values().items() if key != missing}
    with pytest.raises(UserError, match=f"^{hint}$"):
        parse(Outer, rest)


def test_where_stands_before_every_message() -> None:
    with pytest.raises(UserError, match=r"^net\.json\.inner\.count: 13 brings"):
        parse(Outer, values(inner={"count": 13}), "net.json")
    with pytest.raises(UserError, match=r"^net\.json: 5 does not fit"):
        parse(Outer, 5, "net.json")
