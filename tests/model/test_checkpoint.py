"""Checkpoint directories: the same bits back, or a sentence that names the file."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from der.common.errors import UserError
from der.model.checkpoint import (
    Checkpoint,
    check_classes,
    extractor_name,
    load_checkpoint,
    save_checkpoint,
    save_empty_checkpoint,
)
from der.model.network import Network
from der.model.resnet import architecture
from tests.builders import network_settings, random_checkpoint, same_bits, train_settings, weights

FIRST = [3]
SECOND = [3, 2]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of two steps, beside those of step 0 and step 1."""
    save_empty_checkpoint(tmp_path / "0")
    save_checkpoint(tmp_path / "1", random_checkpoint(FIRST), tmp_path / "0")
    save_checkpoint(tmp_path / "2", random_checkpoint(SECOND), tmp_path / "1")
    return tmp_path / "2"


def test_round_trip(saved: Path) -> None:
    for number, classes in ((1, FIRST), (2, SECOND)):
        written, read = random_checkpoint(classes), load_checkpoint(saved.parent / str(number))
        assert read.card == written.card
        assert same_bits(weights(read.network), weights(written.network))
        assert not any(module.training for module in read.network.modules())


def test_every_extractor_keeps_its_place(saved: Path) -> None:
    third = random_checkpoint([3, 2, 2])
    save_checkpoint(saved.parent / "3", third, saved)
    read = load_checkpoint(saved.parent / "3")
    assert same_bits(weights(read.network), weights(third.network))


def test_the_loaded_network_answers_the_same(saved: Path) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    written = random_checkpoint(SECOND).network
    read = load_checkpoint(saved).network
    assert torch.equal(read(images), written(images))


def test_memory_format_does_not_reach_the_file(saved: Path) -> None:
    checkpoint = random_checkpoint(SECOND)
    checkpoint.network.to(memory_format=torch.channels_last)
    again = saved.parent / "again"
    save_checkpoint(again, checkpoint, saved.parent / "1")
    assert contents(again) == contents(saved)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_of_a_step(saved: Path) -> None:
    names = {"extractor_1.safetensors", "extractor_2.safetensors", "head.safetensors", "network.json"}
    assert contents(saved).keys() == names


def test_a_frozen_extractor_is_the_same_file(saved: Path) -> None:
    name = extractor_name(1)
    assert (saved / name).samefile(saved.parent / "1" / name)
    assert not (saved / extractor_name(2)).samefile(saved / name)


def test_a_frozen_extractor_is_copied_where_links_are_impossible(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    copied = saved.parent / "copied"
    save_checkpoint(copied, random_checkpoint(SECOND), saved.parent / "1")
    assert contents(copied) == contents(saved)


def test_step_zero_is_an_empty_network(saved: Path) -> None:
    checkpoint = load_checkpoint(saved.parent / "0")
    assert checkpoint.card is None
    assert checkpoint.network.extractors == []
    assert checkpoint.network.classes == 0


def test_class_names_in_label_order(saved: Path) -> None:
    card = load_checkpoint(saved).card
    assert card is not None
    assert card.class_names == [f"class {label}" for label in range(5)]


def test_saving_twice_gives_the_same_bytes(saved: Path) -> None:
    before = contents(saved)
    save_checkpoint(saved, random_checkpoint(SECOND), saved.parent / "1")
    assert contents(saved) == before


def test_a_failure_leaves_the_old_checkpoint(saved: Path) -> None:
    before = contents(saved)
    broken = Checkpoint(Network([], random_checkpoint(FIRST).network.head), random_checkpoint(FIRST).card)
    with pytest.raises(IndexError):
        save_checkpoint(saved, broken, saved.parent / "1")
    assert contents(saved) == before


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


def truncate(path: Path) -> None:
    whole = path.read_bytes()
    path.unlink()  # not in place: the file may be linked
    path.write_bytes(whole[: len(whole) // 2])


def put_pickle(path: Path) -> None:
    path.unlink()
    path.write_bytes(pickle.dumps(Trap()))


def put_torch_save(path: Path) -> None:
    path.unlink()
    torch.save({"weight": torch.zeros(1)}, path)


def put_nothing(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


DAMAGES = [Path.unlink, truncate, put_pickle, put_torch_save, put_nothing]


def invert_a_byte(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-100] ^= 0xFF  # of a weight
    path.unlink()
    path.write_bytes(whole)


WEIGHTS = ["extractor_1", "extractor_2", "head"]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("damage", [*DAMAGES, invert_a_byte], ids=lambda damage: damage.__name__)
def test_a_damaged_file_of_weights_is_named(name: str, damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / f"{name}.safetensors")
    missing = damage is Path.unlink
    fault = r"cannot be read as weights \(" if missing else r"not the file that network\.json records; copy"
    with pytest.raises(UserError, match=rf"{name}\.safetensors: {fault}"):
        load_checkpoint(saved)


@pytest.mark.parametrize("damage", [truncate, put_pickle, put_torch_save, put_nothing])
def test_a_damaged_file_that_is_on_record_is_named(damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / "head.safetensors")
    put_on_record(saved)
    with pytest.raises(UserError, match=r"head\.safetensors: cannot be read as weights \("):
        load_checkpoint(saved)


def test_extractors_that_changed_places_are_named(saved: Path) -> None:
    first, second = (saved / extractor_name(number) for number in (1, 2))
    first.rename(saved / "other")
    second.rename(first)
    (saved / "other").rename(second)
    with pytest.raises(UserError, match=r"extractor_1\.safetensors: not the file that network\.json records"):
        load_checkpoint(saved)


def test_recorded_digests_are_those_of_the_files(saved: Path) -> None:
    recorded = json.loads((saved / "network.json").read_text())["digests"]
    files = [saved / f"{name}.safetensors" for name in WEIGHTS]
    assert recorded == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_a_frozen_extractor_keeps_its_digest_on_record(saved: Path) -> None:
    damaged = saved.parent / "1" / extractor_name(1)
    invert_a_byte(damaged)
    save_checkpoint(saved, random_checkpoint(SECOND), saved.parent / "1")
    with pytest.raises(UserError, match=r"extractor_1\.safetensors: not the file that network\.json records"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["extractor_2", "head"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_not_saved(name: str, value: float, saved: Path) -> None:
    before = contents(saved)
    broken = random_checkpoint(SECOND)
    module = broken.network.head if name == "head" else broken.network.extractors[-1]
    next(iter(module.state_dict().values())).view(-1)[3] = value
    with pytest.raises(
        UserError, match=rf"^{name}\.safetensors: .*weight is not finite after training; lower"
    ):
        save_checkpoint(saved, broken, saved.parent / "1")
    assert contents(saved) == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_card_is_named(damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / "network.json")
    missing = damage is Path.unlink
    message = r"2: no DER checkpoint, a dir" if missing else r"network\.json: cannot be read as JSON \("
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)


def test_what_is_no_directory_is_no_checkpoint(saved: Path) -> None:
    for path in (saved / "head.safetensors", saved / "nowhere"):
        with pytest.raises(UserError, match=rf"{path}: no DER checkpoint, a directory with network\.json$"):
            load_checkpoint(path)


Tensors = dict[str, torch.Tensor]


def rename(tensors: Tensors) -> Tensors:
    return {f"module.{name}": value for name, value in tensors.items()}


def leave_one_out(tensors: Tensors) -> Tensors:
    return dict(list(tensors.items())[1:])


def reshape(tensors: Tensors) -> Tensors:
    return {name: value[:-1] for name, value in tensors.items()}


def halve(tensors: Tensors) -> Tensors:
    return {name: value.half() for name, value in tensors.items()}


@pytest.mark.parametrize("name", ["extractor_1", "head"])
@pytest.mark.parametrize(
    "change", [rename, leave_one_out, reshape, halve], ids=lambda change: change.__name__
)
def test_weights_of_another_network_are_named(
    name: str, change: Callable[[Tensors], Tensors], saved: Path
) -> None:
    path = saved / f"{name}.safetensors"
    tensors = {key: value.contiguous() for key, value in change(load_file(path)).items()}
    path.unlink()
    save_file(tensors, path)
    put_on_record(saved)
    message = rf"{name}\.safetensors: not the weights of the network that network\.json describes$"
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)


def put_on_record(saved: Path) -> None:
    """Have network.json record the files as they are."""
    files = [saved / f"{name}.safetensors" for name in WEIGHTS]
    edit(saved, digests=[hashlib.sha256(file.read_bytes()).hexdigest() for file in files])


def edit(saved: Path, **changes: Any) -> None:
    content = json.loads((saved / "network.json").read_text())
    (saved / "network.json").write_text(json.dumps(content | changes))


@pytest.mark.parametrize("content", ["[]", "5", "{}", '{"format": 2, "steps": []}', '{"format": "1"}'])
def test_a_foreign_card_is_named(content: str, saved: Path) -> None:
    (saved / "network.json").write_text(content)
    with pytest.raises(UserError, match=r"network\.json: not a DER checkpoint of format 1; train it again$"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, r"network\.json\.surprise: unknown key; known here: format"),
        ({"image_side": "8"}, r"network\.json\.image_side: '8' does not fit; write a whole number"),
        ({"steps": [["a"], [1]]}, r"network\.json\.steps\[1\]\[0\]: 1 does not fit"),
        ({"resize": "squeeze"}, r"network\.json\.resize: 'squeeze' does not fit; write cover, centre-crop"),
        (
            {"steps": [["a", "b", "c"], ["a", "d"]]},
            r"network\.json\.steps: 4 different entries where 5 belong",
        ),
        ({"shapes": [None]}, r"network\.json\.shapes: 1 different entries where 2 belong"),
        ({"recipes": []}, r"network\.json\.recipes: 0 different entries where 2 belong"),
        (
            {"digests": None},
            r"network\.json\.digests: not one of each extractor and the classifier; train it",
        ),
        ({"digests": ["", ""]}, r"network\.json\.digests: not one of each extractor and the classifier"),
        ({"digests": [5, {}, ""]}, r"extractor_1\.safetensors: not the file that network\.json records"),
        ({"channels": 1}, r"network\.json\.normalization: 3 different entries where 1 belong"),
        ({"channels": 2}, r"network\.json\.channels: 2 does not fit; write 1 or 3"),
        ({"image_side": 0}, r"network\.json\.image_side: 0 is out of range; write a number of at least 8"),
        ({"image_side": -5}, r"network\.json\.image_side: -5 is out of range"),
        (
            {"normalization": {"mean": [0.5] * 3, "std": [0.2, 0.0, 0.2]}},
            r"network\.json\.normalization\.std: 0\.0 is out of range; write a number above 0",
        ),
        (
            {"normalization": {"mean": [0.5, 1.5, 0.5], "std": [0.2] * 3}},
            r"network\.json\.normalization\.mean: 1\.5 is out of range",
        ),
        ({"parameters": 7}, r"2: the network does not have the 7 parameters it records$"),
    ],
)
def test_a_card_that_does_not_fit_is_named(changes: dict[str, Any], message: str, saved: Path) -> None:
    edit(saved, **changes)
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)


def test_other_classes_than_those_of_the_protocol_are_named(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    steps = [["class 0", "class 1", "class 2"], ["class 3", "class 4"]]
    check_classes(saved, checkpoint, steps)
    check_classes(saved.parent / "0", load_checkpoint(saved.parent / "0"), [])
    for other in ([], steps[:1], [steps[0], steps[1][::-1]], [[*steps[0], *steps[1]]]):
        with pytest.raises(UserError, match=r"2: of other classes than the protocol's; run `dvc repro`$"):
            check_classes(saved, checkpoint, other)


def test_a_card_without_steps_is_not_taken_for_step_zero(saved: Path) -> None:
    content = json.loads((saved / "network.json").read_text())
    del content["steps"]
    (saved / "network.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"network\.json\.steps: missing"):
        load_checkpoint(saved)


def test_a_card_of_another_architecture_is_named(saved: Path) -> None:
    edit(saved, network=asdict(network_settings(depth=14)))
    with pytest.raises(UserError, match=r"extractor_1\.safetensors: not the weights of the network"):
        load_checkpoint(saved)


def test_a_step_more_than_there_are_files_is_named(saved: Path) -> None:
    recipes = [asdict(train_settings().recipe(step)) for step in (1, 2, 3)]
    digests = json.loads((saved / "network.json").read_text())["digests"]
    edit(saved, steps=[["a"], ["b"], ["c"]], shapes=[None] * 3, recipes=recipes, digests=[*digests, ""])
    with pytest.raises(UserError, match=r"extractor_3\.safetensors: cannot be read as weights"):
        load_checkpoint(saved)


def other_shape(**changes: Any) -> dict[str, Any]:
    whole = architecture(network_settings()).full_shape()
    return asdict(whole) | changes


STREAMS = other_shape()["streams"]


@pytest.mark.parametrize(
    "shape",
    [
        other_shape(streams=STREAMS[:2]),
        other_shape(streams=[*STREAMS, [0]]),
        other_shape(inner=[[[0]], [[0]]]),
        other_shape(inner=[[[0]], [[0], [0]], [[0]]]),
        other_shape(streams=[STREAMS[0], STREAMS[1], []]),
        other_shape(streams=[[*STREAMS[0], 16], *STREAMS[1:]]),
        other_shape(streams=[[-1, 0], *STREAMS[1:]]),
        other_shape(inner=[[[1, 0]], [[0]], [[0]]]),
        other_shape(inner=[[[1, 1]], [[0]], [[0]]]),
    ],
)
def test_a_shape_of_no_such_extractor_is_named(shape: dict[str, Any], saved: Path) -> None:
    edit(saved, shapes=[None, shape])
    with pytest.raises(
        UserError, match=r"network\.json\.shapes\[1\]: not channels of this network; train it"
    ):
        load_checkpoint(saved)
