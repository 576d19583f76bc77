"""The identity of a data set: of its classes' names and pixels, and of nothing else."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from der.core.errors import UserError
from der.core.sealed import seal
from der.core.serialization import write_array
from der.data.class_arrays import class_file
from der.data.protocol import Identity, identify
from der.data.sources.registry import download
from der.data import SPLITS
from tests.data.sources.image_trees import settings_for
from tests.examples_drawn import examples

Pixels = tuple[int, ...]  # of one image of side 2, grey
DataSet = dict[str, dict[str, list[Pixels]]]  # split -> class -> images

IMAGES = st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=1, max_size=4)
NAMES = st.text("abé.Z9 _", min_size=1, max_size=3)
DATA_SETS = st.lists(NAMES, min_size=2, max_size=4, unique_by=str.casefold).flatmap(
    lambda names: st.fixed_dictionaries(
        {split: st.fixed_dictionaries(dict.fromkeys(names, IMAGES)) for split in SPLITS}
    )
)


def write(directory: Path, data_set: DataSet, form: tuple[int, ...] = (2, 2, 1)) -> Path:
    for split, classes in data_set.items():
        for name, images in classes.items():
            # Not write_array, which waits for the disk.
            path = directory / split / class_file(name)
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.array(images, np.uint8).reshape(-1, *form))
        seal(directory / split, {})
    return directory


def identity_of(data_set: DataSet, form: tuple[int, ...] = (2, 2, 1)) -> Identity:
    with tempfile.TemporaryDirectory() as directory:
        return identify(write(Path(directory), data_set, form))


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def identity_by_hand(data_set: DataSet) -> Identity:
    """The same, from lists of integers."""
    parts = [
        {
            name: digest(b"".join(sorted(digest(bytes(image)) for image in images))).hex()
            for name, images in data_set[split].items()
        }
        for split in ("train", "test")
    ]
    text = json.dumps([[2, 2, 1], *parts], sort_keys=True, separators=(",", ":"))
    train, test = (sum(len(images) for images in data_set[split].values()) for split in ("train", "test"))
    return Identity(digest(text.encode()).hex(), len(data_set["train"]), train, test)


@settings(max_examples=examples(60), deadline=None)
@given(DATA_SETS)
def test_formula(data_set: DataSet) -> None:
    assert identity_of(data_set) == identity_by_hand(data_set)


@settings(max_examples=examples(60), deadline=None)
@given(DATA_SETS, st.randoms(use_true_random=False))
def test_order_of_images_and_of_files_is_nothing(data_set: DataSet, draw: Any) -> None:
    shuffled = {
        split: {
            name: draw.sample(classes[name], len(classes[name]))
            for name in draw.sample(list(classes), len(classes))
        }
        for split, classes in reversed(data_set.items())
    }
    assert identity_of(shuffled) == identity_of(data_set)


def change_pixel(classes: dict[str, list[Pixels]], name: str, draw: Any) -> None:
    number, place = draw.randrange(len(classes[name])), draw.randrange(4)
    image = list(classes[name][number])
    image[place] = (image[place] + draw.randint(1, 255)) % 256
    classes[name][number] = tuple(image)


def repeat_image(classes: dict[str, list[Pixels]], name: str, draw: Any) -> None:
    classes[name].append(draw.choice(classes[name]))


def rename_class(classes: dict[str, list[Pixels]], name: str, draw: Any) -> None:
    classes[f"{name}x"] = classes.pop(name)


CHANGES = [change_pixel, repeat_image, rename_class]


@settings(max_examples=examples(80), deadline=None)
@given(DATA_SETS, st.sampled_from(CHANGES), st.sampled_from(SPLITS), st.randoms(use_true_random=False))
def test_any_single_change_changes_it(data_set: DataSet, change: Any, split: str, draw: Any) -> None:
    before = identity_of(data_set)
    name = draw.choice(list(data_set[split]))
    change(data_set[split], name, draw)
    assert identity_of(data_set).sha256 != before.sha256


@settings(max_examples=examples(60), deadline=None)
@given(DATA_SETS, st.randoms(use_true_random=False))
def test_an_image_belongs_to_its_class_and_split(data_set: DataSet, draw: Any) -> None:
    before = identity_of(data_set)
    name, other = draw.sample(list(data_set["train"]), 2)
    moved = draw.choice(data_set["train"][name])
    data_set["train"][name].append(moved)  # one more that stays, so that the class is not left empty
    whole = identity_of(data_set)
    data_set["train"][name].remove(moved)
    assert identity_of(data_set) == before
    for split, target in (("train", other), ("test", name)):
        data_set[split][target].append(moved)
        assert identity_of(data_set).sha256 not in (before.sha256, whole.sha256)
        data_set[split][target].pop()


@settings(max_examples=examples(30), deadline=None)
@given(DATA_SETS)
def test_images_of_another_form_are_others(data_set: DataSet) -> None:
    forms = [(2, 2, 1), (1, 4, 1), (4, 1, 1), (1, 1, 4)]
    assert len({identity_of(data_set, form).sha256 for form in forms}) == len(forms)


DATA_SET: DataSet = {split: {"cat": [(1, 2, 3, 4)], "dog": [(5, 6, 7, 8)]} for split in SPLITS}


def refuse(directory: Path, message: str) -> None:
    with pytest.raises(UserError) as caught:
        identify(directory)
    assert str(caught.value).startswith(message)


def test_directories_without_images(tmp_path: Path) -> None:
    refuse(tmp_path, f"{tmp_path / 'train/manifest.json'}: cannot be read")
    raw = write(tmp_path, DATA_SET)
    shutil.rmtree(raw / "test")
    (raw / "test").mkdir()
    seal(raw / "test", {})
    refuse(raw, f"{raw / 'test'}: holds no classes; ")


def test_damaged_arrays(tmp_path: Path) -> None:
    raw = write(tmp_path, DATA_SET)
    write_array(raw / "test/dog.npy", np.zeros((1, 4, 1, 1), np.uint8))
    refuse(raw, f"{raw / 'test/dog.npy'}: damaged, its bytes are not those that were written")
    seal(raw / "test", {})
    refuse(raw, f"{raw / 'test/dog.npy'}: images of shape (4, 1, 1)")
    write_array(raw / "test/cat.npy", np.zeros((1, 4, 1, 1), np.uint8))
    seal(raw / "test", {})
    refuse(raw, f"{raw}: training and test images differ in shape; ")
    (raw / "test/cat.npy").write_bytes(b"none")
    seal(raw / "test", {})
    refuse(raw, f"{raw / 'test/cat.npy'}: cannot be read")


def save_tree(directory: Path, images: dict[str, NDArray[np.uint8]], ending: str, first: int) -> None:
    """Pictures named by numbers that fall from ``first``: in another order than the images'."""
    for split in SPLITS:
        for name, pictures in images.items():
            (directory / split / name).mkdir(parents=True)
            for number, picture in enumerate(pictures):
                Image.fromarray(picture).save(directory / split / name / f"{first - number:04}.{ending}")


def test_trees_of_other_names_order_and_format(tmp_path: Path) -> None:
    draw = np.random.RandomState(0)
    images = {name: draw.randint(0, 256, (5, 8, 8, 3)).astype(np.uint8) for name in ("cat", "dog")}
    found = []
    for ending, first, order in (("png", 9, 1), ("bmp", 50, -1), ("png", 7, 1)):
        tree, raw = tmp_path / f"tree{first}", tmp_path / f"raw{first}"
        if first == 7:
            images["dog"][2, 3, 4, 1] ^= 1
        save_tree(tree, {name: pictures[::order] for name, pictures in images.items()}, ending, first)
        download(settings_for(tree, image_side=8), raw)
        found.append(identify(raw))
    assert found[0] == found[1] == Identity(found[0].sha256, classes=2, train=10, test=10)
    assert found[2].sha256 != found[0].sha256
