"""Class orders and steps."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from der.core.errors import UserError
from der.data.protocol import order_classes, plan_steps
from der.settings.sections import ProtocolSettings

HUNDRED = [f"{number:02}" for number in range(100)]
FIVE = ["ant", "bee", "cat", "dog", "eel"]


def settings(
    first: int = 2, later: int = 2, order: Any = "alphabetical", steps: Any = None
) -> ProtocolSettings:
    return ProtocolSettings(first_classes=first, later_classes=later, class_order=order, steps=steps)


@pytest.mark.parametrize(
    ("seed", "start"),
    [([1993], [43, 92, 14, 57, 89, 20, 34, 69]), (1993, [68, 56, 78, 8, 23, 84, 90, 65])],
    ids=["the notebook's list", "the literature's integer"],
)
def test_published_class_orders(seed: int | list[int], start: list[int]) -> None:
    order = order_classes(HUNDRED, seed)
    assert [int(name) for name in order[:8]] == start
    assert sorted(order) == HUNDRED


def test_a_seed_permutes_and_alphabetical_does_not() -> None:
    assert order_classes(FIVE, "alphabetical") == FIVE
    assert order_classes(FIVE, 0) == order_classes(FIVE, 0) != order_classes(FIVE, 1)


def test_names_in_the_order_given() -> None:
    assert order_classes(FIVE, FIVE[::-1]) == FIVE[::-1]


@pytest.mark.parametrize(
    ("first", "later", "sizes"),
    [(2, 2, [2, 2, 1]), (1, 4, [1, 4]), (3, 1, [3, 1, 1]), (5, 2, [5]), (4, 9, [4, 1]), (1, 1, [1] * 5)],
)
def test_the_last_step_takes_what_remains(first: int, later: int, sizes: list[int]) -> None:
    steps = plan_steps(FIVE, settings(first, later))
    assert [len(step) for step in steps] == sizes
    assert [name for step in steps for name in step] == FIVE


def test_published_protocols() -> None:
    assert [len(step) for step in plan_steps(HUNDRED, settings(25, 25))] == [25] * 4
    assert [len(step) for step in plan_steps(HUNDRED, settings(50, 5))] == [50] + [5] * 10


def test_steps_follow_the_class_order() -> None:
    steps = plan_steps(HUNDRED, settings(10, 30, [1993]))
    assert steps[0][:3] == ["43", "92", "14"]
    assert [name for step in steps for name in step] == order_classes(HUNDRED, [1993])


def test_explicit_steps_are_kept_and_need_not_hold_every_class() -> None:
    steps = [["dog", "ant"], ["eel"]]
    assert plan_steps(FIVE, settings(first=99, order=1993, steps=steps)) == steps


def test_class_names_without_quotes_are_not_taken_for_seeds() -> None:
    digits = [str(digit) for digit in range(10)]
    message = (
        r"^protocol\.class_order: whole numbers are seeds, and these are the names of all classes; put the "
        r"names in quotes, \['9', \.\.\.\]$"
    )
    with pytest.raises(UserError, match=message):
        plan_steps(digits, settings(order=list(range(9, -1, -1))))
    seeds = list(range(8, -1, -1))  # one name is missing
    assert sorted(order_classes(digits, seeds)) == digits
    assert order_classes(digits, digits[::-1]) == digits[::-1]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_may_be_written_in_any_unicode_form(form: Any) -> None:
    names = ["Föhn", "ant"]
    written = [unicodedata.normalize(form, name) for name in names[::-1]]
    assert order_classes(names, written) == ["ant", "Föhn"]
    assert plan_steps(names, settings(steps=[[name] for name in written])) == [["ant"], ["Föhn"]]


@pytest.mark.parametrize("seed", [-1, 2**32, [2**32], [-1], []])
def test_what_is_no_seed(seed: int | list[int]) -> None:
    with pytest.raises(UserError, match=r"^class_order: .*; write "):
        ProtocolSettings(first_classes=1, later_classes=1, class_order=seed, steps=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"first": 6},
            r"protocol\.first_classes: 6, but the data set has 5 classes; write at most 5",
        ),
        ({"order": FIVE[:4]}, r"protocol\.class_order: 'eel' is missing; list every class once"),
        (
            {"order": [*FIVE[:4], "fox"]},
            r"protocol\.class_order: 'fox' is no class of the data set; it has ant, bee, cat, dog, eel",
        ),
        (
            {"order": [*FIVE, "bee"]},
            r"protocol\.class_order: 'bee' stands 2 times; name every class once",
        ),
        (
            {"steps": []},
            r"protocol\.steps: no step; write a list of class names for every step, or null",
        ),
        ({"steps": [["ant"], []]}, r"protocol\.steps: step 2 has no class; name at least one"),
        ({"steps": [["ant"], ["Bee"]]}, r"protocol\.steps: 'Bee' is no class of the data set; it has .*eel"),
        (
            {"steps": [["ant", "bee"], ["ant"]]},
            r"protocol\.steps: 'ant' stands 2 times; name every class once",
        ),
    ],
)
def test_a_protocol_that_does_not_fit_the_classes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        plan_steps(FIVE, settings(**changes))


def test_only_some_of_many_classes_are_listed() -> None:
    with pytest.raises(UserError, match=r"it has 00, 01, 02, .*, 09 and 90 more$"):
        plan_steps(HUNDRED, settings(steps=[["x"]]))


LETTERS = st.characters(exclude_categories=["Cc", "Cs"])  # no class name has others
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=30).map(
    lambda names: sorted({unicodedata.normalize("NFC", name) for name in names})
)
SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(1, 40)


@tries(deadline=None)
@given(NAMES, COUNTS, COUNTS, st.just("alphabetical") | SEEDS | st.lists(SEEDS, min_size=1, max_size=3))
def test_every_class_is_taught_once_in_the_order_of_classes(
    names: list[str], first: int, later: int, order: Any
) -> None:
    protocol = settings(first, later, order)
    if first > len(names):
        with pytest.raises(UserError, match=r"^protocol\.first_classes: .* write at most \d+$"):
            plan_steps(names, protocol)
        return
    steps = plan_steps(names, protocol)
    assert [name for step in steps for name in step] == order_classes(names, order)
    assert sorted(name for step in steps for name in step) == names
    first_step, *later_steps = steps
    assert len(first_step) == first
    assert all(len(step) == later for step in later_steps[:-1])
    assert not later_steps or 1 <= len(later_steps[-1]) <= later
    assert steps == plan_steps(names, protocol)


@tries(deadline=None)
@given(NAMES, COUNTS, st.randoms(use_true_random=False))
def test_named_steps_that_hold_no_class_twice_are_taken_as_they_are(
    names: list[str], size: int, random: Any
) -> None:
    chosen = random.sample(names, random.randint(1, len(names)))
    steps = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    decomposed = [[unicodedata.normalize("NFD", name) for name in step] for step in steps]
    for written in (steps, decomposed):
        assert plan_steps(names, settings(order=0, steps=written)) == steps
    with pytest.raises(UserError, match=r"^protocol\.steps: .* stands 2 times; name every class once$"):
        plan_steps(names, settings(steps=[*steps, [chosen[0]]]))


@tries(deadline=None)
@given(NAMES, st.lists(st.text(LETTERS, max_size=6), max_size=30))
def test_an_order_is_a_permutation_of_all_names_or_one_sentence(names: list[str], written: list[str]) -> None:
    normal = [unicodedata.normalize("NFC", name) for name in written]
    if sorted(normal) == names:
        assert order_classes(names, [*written]) == normal
    elif written:
        with pytest.raises(UserError, match=r"^protocol\.class_order: ") as caught:
            order_classes(names, [*written])
        assert "\n" not in str(caught.value)
