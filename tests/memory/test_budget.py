"""How many exemplars a class gets: quotas by allocation, and the budgets that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import UserError
from der.data.arrays import check_budget, exemplars_per_class
from tests.builders import memory_settings

BUDGETS = st.integers(1, 10**7)
CLASSES = st.integers(1, 10**4)


@pytest.mark.parametrize(
    ("allocation", "classes", "expected"),
    [("total", 25, 80), ("total", 75, 26), ("total", 2001, 0), ("per_class", 75, 2000)],
)
def test_exemplars_per_class(allocation: str, classes: int, expected: int) -> None:
    settings = memory_settings(budget=2000, allocation=allocation)
    assert exemplars_per_class(settings, classes) == expected


@given(BUDGETS, CLASSES)
def test_equal_shares_of_a_total_leave_less_than_one_for_each(budget: int, classes: int) -> None:
    each = exemplars_per_class(memory_settings(budget=budget, allocation="total"), classes)
    assert each >= 0 and 0 <= budget - each * classes < classes


@given(BUDGETS, CLASSES, CLASSES)
def test_no_class_gains_when_more_come(budget: int, one: int, other: int) -> None:
    few, many = sorted((one, other))
    for allocation in ("total", "per_class"):
        settings = memory_settings(budget=budget, allocation=allocation)
        assert exemplars_per_class(settings, few) >= exemplars_per_class(settings, many)


@given(BUDGETS, CLASSES, CLASSES)
def test_the_budget_of_a_class_is_its_own(budget: int, one: int, other: int) -> None:
    settings = memory_settings(budget=budget, allocation="per_class")
    assert exemplars_per_class(settings, one) == exemplars_per_class(settings, other) == budget


@given(BUDGETS, CLASSES)
def test_a_budget_is_refused_exactly_where_a_class_would_go_without(budget: int, classes: int) -> None:
    settings = memory_settings(budget=budget, allocation="total")
    if budget >= classes:
        check_budget(settings, classes)
        return
    with pytest.raises(UserError, match=rf"^memory\.budget: {budget} leaves no .* write at least {classes}$"):
        check_budget(settings, classes)
    check_budget(memory_settings(budget=classes, allocation="total"), classes)  # what the message says
    check_budget(memory_settings(budget=budget, allocation="per_class"), classes)
