"""What params.yaml chooses by name is looked up where it is made."""

import re
import subprocess
import sys
from functools import reduce
from operator import getitem
from typing import Any

import pytest

from der.core.errors import UserError
from der.estimator.choices import (
    CHOICES,
    SIDE,
    change_settings,
    check_channels,
    check_choices,
    choose_form,
    list_values,
    suit,
)
from der.pipeline.presets import load_settings
from der.settings.experiment import Settings, preset
from der.settings.parsing import parse
from der.settings.sections import all_values, to_values
from tests.locations import ROOT
from tools.settings import KEYWORDS, describe_keywords

SETTINGS = load_settings(ROOT / "params.yaml")


def with_value(key: str, value: Any) -> Settings:
    values = to_values(SETTINGS)
    *above, last = key.split(".")
    reduce(getitem, above, values)[last] = value
    return parse(Settings, values)


def with_network(**changes: Any) -> Settings:
    return change_settings(SETTINGS, {f"network__{name}": value for name, value in changes.items()})


def refusal(settings: Settings) -> str:
    with pytest.raises(UserError) as caught:
        check_choices(settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("dataset.source", "digits or cifar10 or cifar100 or folder"),
        ("network.backbone", "cifar_resnet or resnet or timm:<name>"),
        ("network.head_initialization", "torch_uniform or lecun_uniform or lecun_normal"),
        (
            "train.incremental.rebalancing",
            "weight_alignment or classifier_learning or logistic or lda or none",
        ),
        ("memory.selection", "herding or random"),
    ],
)
def test_other_names_are_refused_with_those_there_are(key: str, options: str) -> None:
    assert refusal(with_value(key, "x")) == (
        f"{key}: 'x' does not fit; write {options}, or module:function of your own"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 50}, "network.depth: 50 is no depth of backbone resnet; write 18 or 34"),
        (
            {"backbone": "cifar_resnet", "depth": 9},
            "network.depth: 9 is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110",
        ),
        (
            {"backbone": "cifar_resnet", "stem": "large"},
            "network.stem: large goes with backbone resnet; write small",
        ),
    ],
)
def test_depth_and_stem_belong_to_the_backbone(changes: dict[str, Any], message: str) -> None:
    assert refusal(with_network(**{"backbone": "resnet", **changes})) == message
    check_choices(with_network(backbone="resnet", depth=18))
    check_choices(with_network(backbone="resnet", depth=34, stem="large"))


@pytest.mark.parametrize("weights", ["pretrained", "data/weights/mine.pth"])
def test_weights_to_start_from_are_of_colour_images(weights: str) -> None:
    network = with_network(backbone="timm:resnet18", weights=weights).network
    advice = "write dataset.channels: 3, or network.weights: null"
    check_channels(network, 3, advice)
    with pytest.raises(UserError) as caught:
        check_channels(network, 1, advice)
    assert str(caught.value) == (
        "network.weights: those of timm:resnet18 are for images of 3 channels, not of 1; write "
        "dataset.channels: 3, or network.weights: null"
    )
    check_channels(with_network(backbone="timm:resnet18").network, 1, advice)


@pytest.mark.parametrize(("values", "channels"), [(1, 3), (3, 1), (2, 3)])
def test_mean_and_deviation_are_of_as_many_channels(values: int, channels: int) -> None:
    for other in ({"mean": [0.5] * values}, {"std": [0.5] * values}):
        network = with_network(**({"mean": [0.5] * channels, "std": [0.5] * channels} | other)).network
        message = f"^network.{next(iter(other))}: {values} values for images of {channels} channels; write"
        with pytest.raises(UserError, match=message):
            check_channels(network, channels, "")


@pytest.mark.parametrize(
    ("images", "base", "changes"),
    [
        ((8, 1, 100), "digits", {"padding": 1, "flip": False}),
        ((28, 1, 60000), "notebook", {"padding": 3, "flip": False}),
        ((32, 3, 4999), "digits", {"padding": 4, "flip": True}),
        ((64, 3, 5000), "notebook", {"padding": 8, "flip": True}),
    ],
)
def test_settings_for_small_images(images: tuple[int, int, int], base: str, changes: dict[str, Any]) -> None:
    side, channels, count = images
    found, of = suit({(side, side + 9), (side, side), (9, 9), (200, 300)}, channels, count), preset(base)
    augmentation = found.train.augmentation
    assert found.train.base == of.train.base and found.train.incremental == of.train.incremental
    assert {"padding": augmentation.crop_padding, "flip": augmentation.horizontal_flip} == changes
    assert found.network.mean is None and found.memory.budget == 20
    assert choose_form(found, {(40, 50), (99, 70)}, channels) == (side, channels)


def test_large_images_suit_the_photos_and_get_their_colours() -> None:
    photos = suit({(65, 65)}, 1, 10)
    assert photos == suit({(1000, 700), (40, 40), (900, 900)}, 3, 10**6) == preset("photos")
    assert choose_form(photos, {(112, 112)}, 1) == (112, 3)


def test_keywords_for_type_checkers_are_current() -> None:
    assert KEYWORDS.read_text(encoding="utf-8") == describe_keywords(), (
        "write it again with `python -m tools.settings`"
    )
    values = list_values(all_values(preset("digits_masks")))
    assert set(re.findall(r"^    (\w+): ", describe_keywords(), re.MULTILINE)) == {SIDE, *values}


def test_checking_imports_no_torch() -> None:
    code = (
        "import sys; from der.estimator.choices import check_choices; "
        "from der.pipeline.presets import load_settings; check_choices(load_settings()); "
        "import der.pipeline.edits, der.pipeline.edits; "
        "print(sorted({'torch', 'torchvision', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def two(first: Any, second: Any, *, third: Any = None) -> None: ...


@pytest.mark.parametrize("key", CHOICES)
def test_a_function_of_ones_own_takes_what_it_is_called_with(key: str) -> None:
    settings = with_value(key, f"{__name__}:two")
    if CHOICES[key].arguments == 2:
        check_choices(settings)
    else:
        assert refusal(settings).startswith(f"{key}: {__name__}:two takes (first: ")
