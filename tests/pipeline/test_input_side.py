"""The side of images that follows the backbone: written by stage check, read by stage download."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from der.core.errors import DamageError, UserError
from der.estimator.choices import backbone_side, check_choices
from der.pipeline.params import holds_side, with_side, write_side
from der.pipeline.paths import INPUT
from der.settings.experiment import Settings
from tests.estimator.test_choices import with_network, with_value


def with_side_and_backbone(side: int | None, backbone: str) -> Settings:
    settings = with_value("dataset.image_side", side)
    return replace(settings, network=with_network(backbone=backbone).network)


@pytest.mark.parametrize(
    ("side", "backbone", "expected"),
    [(None, "timm:test_efficientnet", 160), (64, "timm:test_efficientnet", None), (8, "cifar_resnet", None)],
)
def test_the_backbone_s_side_only_where_none_is_set(side: Any, backbone: str, expected: Any) -> None:
    settings = with_side_and_backbone(side, backbone)
    check_choices(settings)
    assert backbone_side(settings) == expected


@pytest.mark.parametrize(
    ("side", "backbone", "message"),
    [
        (
            None,
            "cifar_resnet",
            "dataset.image_side: backbone cifar_resnet takes images of any; write the pixels",
        ),
        (
            64,
            "timm:test_vit",
            "dataset.image_side: timm:test_vit takes images of 160 pixels alone; write null",
        ),
    ],
)
def test_sides_that_cannot_be(side: Any, backbone: str, message: str) -> None:
    settings = with_side_and_backbone(side, backbone)
    check_choices(settings)  # arrays have a side of their own
    with pytest.raises(UserError) as caught:
        backbone_side(settings)
    assert str(caught.value) == message


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = with_value("dataset.image_side", None).dataset
    with pytest.raises(UserError, match=r"^data/input\.json: cannot be read"):
        with_side(dataset)
    write_side(224)
    assert with_side(dataset).side == 224
    before = INPUT.stat().st_ino
    write_side(224)
    assert INPUT.stat().st_ino == before  # the same file: what depends on it need not be looked at again
    write_side(None)
    with pytest.raises(
        UserError, match=r"^data/input\.json: holds no side; run `dvc repro`, without --single"
    ):
        with_side(dataset)
    digits = with_value("dataset.image_side", 8).dataset
    assert with_side(digits) is digits


def test_a_bit_that_flips_is_never_another_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = with_value("dataset.image_side", None).dataset
    write_side(160)
    whole = INPUT.read_bytes()
    for place in range(len(whole)):
        INPUT.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamageError, match=r"^data/input\.json: "):
            with_side(dataset)
        assert not holds_side(160)
    write_side(160)  # as the next stage check does
    assert INPUT.read_bytes() == whole
