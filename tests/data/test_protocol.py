"""Class orders and steps, and the identity of a data set."""

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import seal, write_array
from der.data.arrays import class_file
from der.data.protocol import Identity, arriving, identify, order_classes, plan_steps
from der.settings.experiment import read_order
from der.settings.sections import SPLITS, ProtocolSettings

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


def test_a_seed_permutes_and_what_is_listed_stays() -> None:
    assert order_classes(FIVE, 0) == order_classes(FIVE, 0) != order_classes(FIVE, 1)
    assert order_classes(FIVE, "alphabetical") == FIVE
    assert order_classes(FIVE, FIVE[::-1]) == FIVE[::-1]
    assert order_classes(sorted(read_order("podnet_2")), "podnet_2") == read_order("podnet_2")
    steps = [["dog", "ant"], ["eel"]]  # which need not hold every class
    assert plan_steps(FIVE, settings(first=99, order=1993, steps=steps)) == steps


@pytest.mark.parametrize(
    ("first", "later", "sizes"),
    [(2, 2, [2, 2, 1]), (1, 4, [1, 4]), (3, 1, [3, 1, 1]), (5, 2, [5]), (4, 9, [4, 1]), (1, 1, [1] * 5)],
)
def test_the_last_step_takes_what_remains(first: int, later: int, sizes: list[int]) -> None:
    steps = plan_steps(FIVE, settings(first, later))
    assert [len(step) for step in steps] == sizes
    assert [name for step in steps for name in step] == FIVE


def test_photos_for_a_later_step_are_no_class_and_come_with_that_step() -> None:
    names = ["ant", "ant@2", "ant@3", "bee", "bee@1", "cat", "cat@2", "cat@9", "dog"]
    steps = plan_steps(names, settings(first=1, later=1))
    assert steps == [["ant"], ["bee"], ["cat"], ["dog"]]
    assert arriving(names, steps) == [
        {"ant": ["ant"]},
        {"bee": ["bee", "bee@1"], "ant": ["ant@2"]},
        {"cat": ["cat", "cat@2"], "ant": ["ant@3"]},  # not before the class itself
        {"dog": ["dog"], "cat": ["cat@9"]},  # with the last step, if there is none of that number
    ]
    assert arriving(names, [["bee"]]) == [{"bee": ["bee", "bee@1"]}]
    with pytest.raises(UserError, match=r"^eel@2: @ marks more photos of a class, but eel is none"):
        plan_steps([*names, "eel@2"], settings())


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": 6}, "first_classes: 6, but the data set has 5 classes; write at most 5"),
        ({"order": FIVE[:4]}, "class_order: 'eel' is missing; list every class once"),
        ({"order": [*FIVE[:4], "fox"]}, "class_order: 'fox' is no class of the data set; it has ant"),
        ({"order": [*FIVE, "bee"]}, "class_order: 'bee' stands 2 times; name every class once"),
        ({"steps": []}, "steps: no step, or one without a class; name the classes of every step"),
        ({"steps": [["ant"], []]}, "steps: no step, or one without a class; name the classes of every step"),
        ({"steps": [["ant"], ["Bee"]]}, "steps: 'Bee' is no class of the data set; it has ant, bee"),
        ({"steps": [["ant", "bee"], ["ant"]]}, "steps: 'ant' stands 2 times; name every class once"),
    ],
)
def test_a_protocol_that_does_not_fit_the_classes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan_steps(FIVE, settings(**changes))
    assert str(caught.value).startswith(f"protocol.{message}")


Classes = dict[str, NDArray[np.uint8]]  # class -> images (N, S, S, C)


def drawn(seed: int) -> dict[str, Classes]:
    """Two to four classes of one to four images of side 2 in each split."""
    draw = np.random.RandomState(seed)
    names = ["a", "bé", "c. d", "Z_"][: draw.randint(2, 5)]
    return {
        split: {name: draw.randint(0, 256, (draw.randint(1, 5), 2, 2, 1)).astype(np.uint8) for name in names}
        for split in SPLITS
    }


def write(directory: Path, data_set: dict[str, Classes]) -> Path:
    for split, classes in data_set.items():
        for name, images in classes.items():
            write_array(directory / split / class_file(name), images)
        seal(directory / split, {})
    return directory


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


@pytest.mark.parametrize("seed", range(5))
def test_identity_by_its_formula(tmp_path: Path, seed: int) -> None:
    data_set = drawn(seed)
    parts = [
        {
            name: digest(b"".join(sorted(digest(image.tobytes()) for image in images))).hex()
            for name, images in data_set[split].items()
        }
        for split in ("train", "test")
    ]
    text = json.dumps([[2, 2, 1], *parts], sort_keys=True, separators=(",", ":"))
    train, test = (sum(map(len, data_set[split].values())) for split in ("train", "test"))
    wanted = Identity(digest(text.encode()).hex(), len(data_set["train"]), train, test)
    assert identify(write(tmp_path, data_set)) == wanted
