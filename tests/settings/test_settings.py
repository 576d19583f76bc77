"""params.yaml as committed, and every range and cross check by its message."""

import copy
from typing import Any

import pytest
import torch

from der.core.errors import UserError
from der.pipeline.params import read_params
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.sections import LARGEST_FACTOR, LARGEST_RATE, MOST
from tests.locations import ROOT

COMMITTED = read_params(ROOT / "params.yaml")
PHASES = ("train.base", "train.incremental")
MASKS = {
    "sparsity_weight": 0.5,
    "sharpness": 400,
    "rate_factor": 100.0,
    "start_mean": 1.0,
    "start_deviation": 0.5,
}


def edited(**changes: Any) -> dict[str, Any]:
    """The committed file, with masks, and some keys (dots written as double underscores) set."""
    content = copy.deepcopy(COMMITTED)
    content["train"]["masks"] = dict(MASKS)
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = content
        for section in sections:
            place = place[section]
        place[key] = value
    return content


def accepts(key: str, value: Any) -> None:
    parse(Settings, edited(**{key.replace(".", "__"): value}))


def refuses(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Settings, edited(**{key.replace(".", "__"): value}))
    assert str(caught.value) == message


def test_the_committed_file_loads() -> None:
    settings = parse(Settings, COMMITTED)
    assert settings.dataset.source == COMMITTED["dataset"]["source"]
    assert settings.train.incremental.weight_decay == COMMITTED["train"]["incremental"]["weight_decay"]


COUNT = (2**31 - 1, 2**31, "and at most 2147483647")  # highest, just above, words
FACTOR = (1e6, 1.1e6, "and at most 1000000")
BOUNDS = [  # key, lowest, just below, words; highest, just above, words
    ("dataset.image_side", 8, 7, "of at least 8", 1024, 1025, "and at most 1024"),
    ("dataset.test_fraction", 1e-9, 0.0, "of at least 1e-12", 0.999, 1.0, "and below 1"),
    ("network.depth", 8, 7, "of at least 8", 1202, 1208, "and at most 1202"),
    ("train.augmentation.crop_padding", 0, -1, "of at least 0", 256, 257, "and at most 256"),
    ("train.augmentation.brightness", 0, -0.01, "of at least 0", 1.0, 1.01, "and at most 1"),
    ("memory.budget", 1, 0, "of at least 1", *COUNT),
    ("evaluate.group_labels", 1, 0, "of at least 1", *COUNT),
    ("protocol.first_classes", 1, 0, "of at least 1", *COUNT),
    ("protocol.later_classes", 1, 0, "of at least 1", *COUNT),
    *(
        (f"{phase}.{key}", *rest)
        for phase in (*PHASES, "train.incremental.classifier")
        for key, *rest in (
            ("epochs", 1, 0, "of at least 1", *COUNT),
            ("learning_rate", 1e-12, 0.0, "of at least 1e-12", 1e30, 1e31, "and at most 1e+30"),
            ("decay", 1e-12, 0.0, "of at least 1e-12", 1.0, 1.01, "and at most 1"),
            ("weight_decay", 0.0, -1e-9, "of at least 0", *FACTOR),
            ("momentum", 0.0, -0.1, "of at least 0", 1.0, 1.1, "and at most 1"),
            ("batch_size", 1, 0, "of at least 1", *COUNT),
            ("warmup_epochs", 0, -1, "of at least 0", *COUNT),
        )
    ),
    ("train.incremental.auxiliary_weight", 0.0, -0.1, "of at least 0", *FACTOR),
    ("train.incremental.classifier.temperature", 1e-3, 0.0, "of at least 1e-12", *FACTOR),
    ("train.masks.sparsity_weight", 0.0, -0.1, "of at least 0", *FACTOR),
    ("train.masks.sharpness", 1.1, 1.0, "above 1", *FACTOR),
    ("train.masks.rate_factor", 1e-3, 0.0, "of at least 1e-12", *FACTOR),
    ("train.masks.start_mean", -6.0, -6.1, "of at least -6", 6.0, 6.1, "and at most 6"),
    ("train.masks.start_deviation", 0.0, -0.1, "of at least 0", *FACTOR),
]


@pytest.mark.parametrize("flushes", [False, True], ids=["usual", "numbers near 0 flushed, as by stages"])
@pytest.mark.parametrize(("key", "low", "below", "from_low", "high", "above", "to_high"), BOUNDS)
def test_bounds_are_kept_and_named(
    key: str, low: Any, below: Any, from_low: str, high: Any, above: Any, to_high: str, flushes: bool
) -> None:
    torch.set_flush_denormal(flushes)
    accepts(key, low)
    accepts(key, high)
    for value in (below, above):
        refuses(key, value, f"{key}: {value} is out of range; write a number {from_low} {to_high}")


def test_what_the_bounds_admit_is_no_overflow() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LARGEST_RATE * LARGEST_FACTOR)
    assert torch.tensor(optimizer.param_groups[0]["lr"]).isfinite()
    assert len(torch.ones(3).split(MOST)) == 1


@pytest.mark.parametrize("key", ["dataset.seed", "train.seed"])
def test_seeds_are_those_of_numpy(key: str) -> None:
    accepts(key, 0)
    accepts(key, 2**32 - 1)
    for value in (-1, 2**32):
        with pytest.raises(
            UserError, match=rf"^{key}: {value} is out of range; write a number of at least 0"
        ):
            parse(Settings, edited(**{key.replace(".", "__"): value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_are_finite(value: float) -> None:
    refuses(
        "train.base.learning_rate",
        value,
        f"train.base.learning_rate: {value} is out of range; write a number of at least 1e-12 and at most "
        "1e+30",
    )


def test_dvc_expands_no_tilde() -> None:
    refuses("dataset.path", "~/images", "dataset.path: DVC does not expand '~'; write the path in full")
    accepts("dataset.downloads", "~/elsewhere")


@pytest.mark.parametrize("given", ["mean", "std"])
def test_mean_and_deviation_go_together(given: str) -> None:
    content = edited(dataset__channels=1, network__mean=None, network__std=None)
    content["network"][given] = [0.5]
    message = r"^network\.mean and std go together; write both as lists, or both as null$"
    with pytest.raises(UserError, match=message):
        parse(Settings, content)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_one_value_for_each_channel(name: str) -> None:
    content = edited(dataset__channels=3, network__mean=[0.5] * 3, network__std=[0.2] * 3)
    parse(Settings, content)
    content["network"][name] = [0.5, 0.5]
    message = rf"^network\.{name}: 2 values for images of 3 channels \(dataset\.channels\); write 3$"
    with pytest.raises(UserError, match=message):
        parse(Settings, content)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("mean", 1.5, "of at least 0 and at most 1"), ("std", 0.0, "of at least 1e-06 and at most 1")],
)
def test_every_entry_of_a_list_is_checked(name: str, value: float, words: str) -> None:
    content = edited(dataset__channels=3, network__mean=[0.5] * 3, network__std=[0.2] * 3)
    content["network"][name][1] = value
    with pytest.raises(
        UserError, match=rf"^network\.{name}: {value} is out of range; write a number {words}$"
    ):
        parse(Settings, content)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("milestones", [[3, 2], [2, 2]])
def test_milestones_increase(phase: str, milestones: list[int]) -> None:
    message = f"{phase}.milestones: {milestones} do not increase; write each epoch once, in order"
    refuses(f"{phase}.milestones", milestones, message)
    accepts(f"{phase}.milestones", [])
    accepts(f"{phase}.milestones", [0, 10**6])


@pytest.mark.parametrize(
    ("key", "value", "options"),
    [
        ("dataset.channels", 2, "1 or 3"),
        ("dataset.channels", True, "1 or 3"),
        ("train.precision", "float16", "float32 or bfloat16"),
        ("memory.allocation", "each", "total or per_class"),
    ],
)
def test_a_choice_is_refused_with_the_options(key: str, value: Any, options: str) -> None:
    refuses(key, value, f"{key}: {value!r} does not fit; write {options}")


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("train.base.epochs", True, "a whole number"),
        ("train.base.epochs", 1.5, "a whole number"),
        ("train.base.learning_rate", True, "a number"),
        ("train.augmentation.horizontal_flip", 1, "true or false"),
        ("dataset.path", 5, "text (in quotes)"),
    ],
)
def test_types_are_not_converted(key: str, value: Any, kind: str) -> None:
    refuses(key, value, f"{key}: {value} does not fit; write {kind}")


@pytest.mark.parametrize("order", ["alphabetical", 1993, [1993], ["b", "a"]])
def test_every_form_of_class_order(order: Any) -> None:
    assert parse(Settings, edited(protocol__class_order=order)).protocol.class_order == order


@pytest.mark.parametrize("order", ["random", True, 1.5, [1, "a"], None])
def test_other_class_orders_are_refused(order: Any) -> None:
    with pytest.raises(
        UserError, match=r"^protocol\.class_order: .*; write a whole number or .* or alphabetical$"
    ):
        parse(Settings, edited(protocol__class_order=order))


def test_misspelt_and_missing_keys_are_named_with_their_place() -> None:
    with pytest.raises(UserError, match=r"^train\.base\.epoch: unknown key; did you mean epochs\?$"):
        parse(Settings, edited(train__base__epoch=1))
    content = copy.deepcopy(COMMITTED)
    del content["train"]["incremental"]["momentum"]
    with pytest.raises(UserError, match=r"^train\.incremental\.momentum: missing; add it with a number$"):
        parse(Settings, content)


@pytest.mark.parametrize("crop", [[], [0.5], [0.5, 0.4], [0.1, 0.5, 1.0]])
def test_a_resized_crop_is_two_fractions(crop: list[float]) -> None:
    with pytest.raises(UserError, match=r"resized_crop: write the smallest and the largest fraction"):
        parse(Settings, edited(train__augmentation__resized_crop=crop))
    accepts("train.augmentation.resized_crop", [0.08, 1.0])


def test_masks_are_a_section_or_null() -> None:
    settings = parse(Settings, edited(train__masks=MASKS))
    assert settings.train.masks is not None and settings.train.masks.sharpness == 400
    for changes, message in (
        ({"sharpness": 0.5}, "sharpness: 0.5 is out of range; write a number above 1 and at most 1000000"),
        ({"sharpnes": 9}, "sharpnes: unknown key; did you mean sharpness?"),
        ({"start_mean": "high"}, "start_mean: 'high' does not fit; write a number"),
    ):
        refuses("train.masks", MASKS | changes, f"train.masks.{message}")
    with pytest.raises(
        UserError, match=r"^train\.masks: 5 does not fit; write the keys sparsity_weight, .* or null$"
    ):
        parse(Settings, edited(train__masks=5))


@pytest.mark.parametrize("phase", ["base", "incremental"])
def test_heads_are_drawn_anew_only_after_a_warm_up(phase: str) -> None:
    keys = {f"train__{phase}__reinitialize_heads": True}
    with pytest.raises(UserError, match=r"reinitialize_heads: there is no warm-up to end; "):
        parse(Settings, edited(**keys))
    parse(Settings, edited(**keys, **{f"train__{phase}__warmup_epochs": 1}))
    epochs = getattr(parse(Settings, edited()).train, phase).epochs
    with pytest.raises(UserError, match=rf"reinitialize_heads: warm-up ends after all {epochs} epochs; "):
        parse(Settings, edited(**keys, **{f"train__{phase}__warmup_epochs": epochs}))
