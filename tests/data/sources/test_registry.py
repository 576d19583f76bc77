"""What a source yields, which may be anyone's, is held to what everything after it relies on."""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.sources import ClassImages, hold_out
from der.data.sources.registry import Counts, download, read_source
from der.settings.sections import DatasetSettings
from tests.data.sources.image_trees import SIDE, settings_for

DECOMPOSED = unicodedata.normalize("NFD", "ä")
YIELDED: list[object] = []  # by ``source``
closed: list[bool] = []


def source(settings: DatasetSettings, scratch: Path) -> Iterable[Any]:
    try:
        yield from YIELDED
    finally:
        closed.append(True)


def returned(settings: DatasetSettings, scratch: Path) -> Any:
    return YIELDED[0]


def images(count: int = 2, side: int = SIDE, channels: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    return np.zeros((count, side, side, channels), dtype)


def named(name: Any, **changes: Any) -> ClassImages:
    return ClassImages(**({"name": name, "train": images(), "test": images(1)} | changes))


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module, as one of a user's on the path."""
    monkeypatch.setitem(sys.modules, "own_source", sys.modules[__name__])
    YIELDED.clear()
    closed.clear()


def settings(name: str = "own_source:source") -> DatasetSettings:
    return replace(settings_for(Path("nowhere")), source=name)


def read(*classes: object) -> list[ClassImages]:
    YIELDED[:] = classes
    return list(read_source(settings(), Path("nowhere")))


def test_what_is_as_described_passes() -> None:
    classes = [named("a b"), named("ä"), named("狐")]
    assert [one.name for one in read(*classes)] == ["a b", "ä", "狐"]
    assert closed == [True]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([named("a")], "yields 1 of the two classes that are needed; add classes"),
        ([], "yields 0 of the two classes that are needed; add classes"),
        ([("a",)], "yields a tuple; yield a ClassImages for every class"),
        ([named("b"), named("a")], "class 'a' comes after 'b'; yield every class once, names sorted"),
        ([named("a"), named("a")], "class 'a' comes after 'a'; yield every class once, names sorted"),
        ([named("a/b")], "'a/b': a class name has 1 to 240 bytes, "),
        ([named("a\n")], "'a\\n': a class name has 1 to 240 bytes, "),
        ([named("")], "'': a class name has 1 to 240 bytes, "),
        ([named("..")], "'..': a class name has 1 to 240 bytes, "),
        ([named("é" * 121)], f"'{'é' * 121}': a class name has 1 to 240 bytes, "),
        ([named(DECOMPOSED)], f"'{DECOMPOSED}' is not in Unicode NFC; normalise the name"),
        ([named("a", test=images(0))], "test of class 'a' has no image; give at least one, or leave"),
        *[
            ([named("a", train=wrong)], f"train of class 'a' is {wrong.dtype} of shape {wrong.shape}; give")
            for wrong in (images(side=9), images(channels=1), images(dtype="float32"), images()[0])
        ],
    ],
)
def test_anything_else_is_one_sentence(classes: list[object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read(*classes)
    assert str(caught.value).startswith(f"dataset.source: own_source:source: {sentence}")
    assert closed == [True]


def test_a_list_of_classes_will_do_and_nothing_will_not(tmp_path: Path) -> None:
    YIELDED.append([named("a"), named("b")])
    assert download(settings("own_source:returned"), tmp_path) == Counts(classes=2, train=4, test=2)
    YIELDED[0] = None
    with pytest.raises(UserError, match=r"^dataset\.source: own_source:returned: returns a NoneType; "):
        list(read_source(settings("own_source:returned"), Path("nowhere")))


NUMBERED = np.arange(200, dtype=np.uint8).reshape(200, 1, 1, 1)
NEAREST = [(10, 0.2, 2), (178, 0.2, 36), (7, 0.5, 4)]
ONE_ON_EACH_SIDE = [(2, 0.01, 1), (2, 0.99, 1), (100, 0.999, 99), (100, 0.001, 1)]


@pytest.mark.parametrize(("count", "fraction", "tests"), NEAREST + ONE_ON_EACH_SIDE)
def test_every_image_lands_on_one_side_in_order(count: int, fraction: float, tests: int) -> None:
    divided = hold_out("cat", NUMBERED[:count], settings_for("", test_fraction=fraction))
    train, test = divided.train.ravel().tolist(), divided.test.ravel().tolist()
    assert (len(train), len(test)) == (count - tests, tests)
    assert train == sorted(train) and test == sorted(test) and sorted(train + test) == list(range(count))


def test_the_draw_depends_on_seed_and_class_and_stays_what_it_was() -> None:
    def drawn(name: str, seed: int, count: int = 50) -> list[int]:
        divided = hold_out(name, NUMBERED[:count], settings_for("", seed=seed))
        return [int(one) for one in divided.test.ravel()]

    assert drawn("cat", 0) != drawn("cat", 1)
    assert drawn("cat", 0) != drawn("dog", 0)
    assert drawn("Füchse 狐", 2**32 - 1) == drawn("Füchse 狐", 2**32 - 1)
    order = np.random.RandomState([3, *b"cat"]).permutation(8)
    assert sorted(order[:2]) == drawn("cat", 3, 8)
