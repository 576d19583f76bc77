"""network.json: what is wrong with it is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.sealed import seal
from der.model.backbones import choose_backbone
from der.model.checkpoint import load_checkpoint
from der.settings.sections import to_values
from tests.builders import network_settings
from tests.model.checkpoint_files import DAMAGES, edit


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_metadata_are_named(damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / "network.json")
    missing = damage is Path.unlink
    message = (
        r"2: no DER checkpoint, a dir" if missing else r"network\.json: damaged, its bytes are not those"
    )
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)


def test_what_is_no_directory_is_no_checkpoint(saved: Path) -> None:
    for path in (saved / "head.safetensors", saved / "nowhere"):
        with pytest.raises(UserError, match=rf"{path}: no DER checkpoint, a directory with network\.json$"):
            load_checkpoint(path)


@pytest.mark.parametrize("content", ["[]", "5", "{}", '{"format": 1, "steps": []}', '{"format": "1"}'])
def test_foreign_metadata_are_named(content: str, saved: Path) -> None:
    (saved / "network.json").write_text(content)
    seal(saved, {})
    with pytest.raises(UserError, match=r"network\.json: not a DER checkpoint of format 2; train it again$"):
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
        ({"channels": 1}, r"network\.json\.normalization: 3 different entries where 1 belong"),
        ({"channels": 2}, r"network\.json\.channels: 2 does not fit; write 1 or 3"),
        ({"image_side": 0}, r"network\.json\.image_side: 0 is out of range; write a number of at least 8"),
        ({"image_side": -5}, r"network\.json\.image_side: -5 is out of range"),
        (
            {"normalization": {"mean": [0.5] * 3, "std": [0.2, 0.0, 0.2]}},
            r"network\.json\.normalization\.std: 0\.0 is out of range; write a number of at least 1e-06",
        ),
        (
            {"normalization": {"mean": [0.5, 1.5, 0.5], "std": [0.2] * 3}},
            r"network\.json\.normalization\.mean: 1\.5 is out of range",
        ),
        (
            {"network": to_values(network_settings(depth=9))},
            r"network\.json\.network\.depth: 9 is not 6n \+ 2; write 8, 14",
        ),
        (
            {"network": to_values(network_settings(backbone="vgg"))},
            r"network\.json\.network\.backbone: 'vgg' does not fit; write cifar_resnet or resnet or timm:",
        ),
        ({"parameters": 7}, r"2: the network does not have the 7 parameters it records$"),
    ],
)
def test_metadata_that_do_not_fit_are_named(changes: dict[str, Any], message: str, saved: Path) -> None:
    edit(saved, **changes)
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)


def test_metadata_without_steps_are_not_taken_for_step_zero(saved: Path) -> None:
    content = json.loads((saved / "network.json").read_text())
    del content["steps"]
    (saved / "network.json").write_text(json.dumps(content))
    seal(saved, {})
    with pytest.raises(UserError, match=r"network\.json\.steps: missing"):
        load_checkpoint(saved)


def test_an_edit_by_hand_is_noticed(saved: Path) -> None:
    text = (saved / "network.json").read_text()
    (saved / "network.json").write_text(text.replace("0.25", "0.26", 1))  # of the normalisation
    with pytest.raises(
        UserError, match=r"network\.json: damaged, its bytes are not those that were written$"
    ):
        load_checkpoint(saved)


def test_metadata_of_another_architecture_are_named(saved: Path) -> None:
    edit(saved, network=to_values(network_settings(depth=14)))
    with pytest.raises(UserError, match=r"extractor_1\.safetensors: not the weights of the network"):
        load_checkpoint(saved)


def other_shape(**changes: Any) -> dict[str, Any]:
    whole = choose_backbone(network_settings()).full_shape
    assert whole is not None
    return to_values(whole) | changes


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
