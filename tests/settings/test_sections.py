"""params.yaml as committed, every range and cross check by its message, and any other content."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from der.core.errors import UserError
from der.pipeline.project import read_params
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.sections import to_values
from tests.examples_drawn import examples
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


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The committed file, with masks, and some values by their dotted paths."""
    content = copy.deepcopy(COMMITTED)
    content["train"]["masks"] = dict(MASKS)
    for path, value in changes.items():
        *sections, key = path.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[key] = value
    return content


def accepts(changes: dict[str, Any]) -> Settings:
    return parse(Settings, changed(changes))


def refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        accepts(changes)
    assert str(caught.value) == message


COUNT = (2**31 - 1, 2**31, "and at most 2147483647")  # highest, just above, words
FACTOR = (1e6, 1.1e6, "and at most 1000000")
BOUNDS = [  # key, lowest, just below, words; highest, just above, words
    ("dataset.image_side", 8, 7, "of at least 8", 1024, 1025, "and at most 1024"),
    ("dataset.test_fraction", 1e-9, 0.0, "of at least 1e-12", 0.999, 1.0, "and below 1"),
    ("dataset.seed", 0, -1, "of at least 0", 2**32 - 1, 2**32, "and at most 4294967295"),
    ("train.seed", 0, -1, "of at least 0", 2**32 - 1, 2**32, "and at most 4294967295"),
    ("network.depth", 8, 7, "of at least 8", 1202, 1208, "and at most 1202"),
    ("train.augmentation.crop_padding", 0, -1, "of at least 0", 256, 257, "and at most 256"),
    ("train.augmentation.cutout", 0, -1, "of at least 0", *COUNT),
    ("train.augmentation.cutmix", 0, -0.1, "of at least 0", *FACTOR),
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
            ("learning_rate", 1e-12, 0.0, "of at least 1e-12", 1e30, float("inf"), "and at most 1e+30"),
            ("decay", 1e-12, 0.0, "of at least 1e-12", 1.0, 1.01, "and at most 1"),
            ("weight_decay", 0.0, -1e-9, "of at least 0", *FACTOR),
            ("momentum", 0.0, -0.1, "of at least 0", 1.0, 1.1, "and at most 1"),
            ("batch_size", 1, 0, "of at least 1", *COUNT),
            ("warmup_epochs", 0, -1, "of at least 0", *COUNT),
        )
    ),
    ("train.incremental.auxiliary_weight", 0.0, -0.1, "of at least 0", *FACTOR),
    ("train.incremental.classifier.temperature", 1e-3, 0.0, "of at least 1e-12", *FACTOR),
    ("train.averaging", 0.01, 0.0, "of at least 1e-12", 1.0, 1.01, "and at most 1"),
    *(
        (f"train.incremental.distillation.{name}", 0.0, -0.1, "of at least 0", *FACTOR)
        for name in ("features", "logits")
    ),
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
    accepts({key: low})
    accepts({key: high})
    for value in (below, above):
        refuses({key: value}, f"{key}: {value} is out of range; write a number {from_low} {to_high}")


COLOUR = {"dataset.channels": 3, "network.mean": [0.5] * 3, "network.std": [0.2] * 3}
SEED = "write whole numbers from 0 to 4294967295"
FORMS = "alphabetical, a whole number, a list of whole numbers, or a list of class names (in quotes)"
CROP = "train.augmentation.resized_crop: write the smallest and the largest fraction, [0.08, 1.0], or null"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dataset.path": "~/images"}, "dataset.path: DVC does not expand '~'; write the path in full"),
    ({"dataset.channels": True}, "dataset.channels: True does not fit; write 1 or 3"),
    ({"train.precision": "float16"}, "train.precision: 'float16' does not fit; write bfloat16 or float32"),
    ({"memory.allocation": "each"}, "memory.allocation: 'each' does not fit; write per_class or total"),
    ({"train.base.epoch": 1}, "train.base.epoch: unknown key; did you mean epochs?"),
    ({"network.mean": [0.5]}, "network.mean and std go together; write both as lists, or both as null"),
    (
        COLOUR | {"network.mean": [0.5, 1.5, 0.5]},
        "network.mean: 1.5 is out of range; write a number of at least 0 and at most 1",
    ),
    (
        COLOUR | {"network.std": [0.2, 0.0, 0.2]},
        "network.std: 0.0 is out of range; write a number of at least 1e-06 and at most 1",
    ),
    (
        {"train.base.milestones": [2, 2]},
        "train.base.milestones: [2, 2] do not increase; write each epoch once, in order",
    ),
    (
        {"train.incremental.reinitialize_heads": True, "train.incremental.warmup_epochs": 0},
        "train.incremental.reinitialize_heads: there is no warm-up to end; write false, or warmup_epochs "
        "above 0",
    ),
    (
        {"train.base.reinitialize_heads": True, "train.base.warmup_epochs": 40},
        "train.base.reinitialize_heads: warm-up ends after all 40 epochs; write false, or fewer "
        "warmup_epochs",
    ),
    *(({"train.augmentation.resized_crop": crop}, CROP) for crop in ([], [0.5], [0.5, 0.4], [0.1, 0.5, 1.0])),
    (
        {"protocol.class_order": []},
        "protocol.class_order: is empty; write alphabetical, a seed, or all class names",
    ),
    ({"protocol.class_order": [1, "a"]}, f"protocol.class_order: [1, 'a'] does not fit; write {FORMS}"),
    ({"protocol.class_order": -1}, f"protocol.class_order: -1 is no seed; {SEED}"),
    ({"protocol.class_order": [2**32]}, f"protocol.class_order: 4294967296 is no seed; {SEED}"),
    (
        {"protocol.class_order": "random"},
        "protocol.class_order: 'random' does not fit; write a whole number or a list ([...]), each entry a "
        "whole number or text (in quotes) or alphabetical or authors_0 or icarl_1993 or podnet_1 or "
        "podnet_2 or podnet_3",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=str)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    refuses(changes, message)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        COLOUR,
        {"dataset.downloads": "~/elsewhere"},
        {"train.masks": None, "train.averaging": 0.25},
        {"train.augmentation.resized_crop": [0.08, 1.0]},
        *({"train.base.milestones": milestones} for milestones in ([], [0, 10**6])),
        *({"protocol.class_order": order} for order in ("alphabetical", 1993, [1993], ["b", "a"])),
        {"train.base.reinitialize_heads": True, "train.base.warmup_epochs": 1},
    ],
    ids=str,
)
def test_what_fits_is_kept(changes: dict[str, Any]) -> None:
    settings = accepts(changes)
    for key, value in changes.items():
        found: Any = settings
        for name in key.split("."):
            found = getattr(found, name)
        assert found == value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63, 10**400])
    | st.floats()
    | st.text(max_size=80)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.sampled_from(["digits", "alphabetical", "herding", "float32", "cifar_resnet"])
)
KEYS = st.text(max_size=70) | st.sampled_from(["dataset", "train", "base", "seed"]) | SCALARS
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def outcome(content: Any) -> Settings | str:
    try:
        return parse(Settings, content)
    except UserError as error:
        sentence = str(error)
    assert sentence.isprintable() and len(sentence) < 500
    return sentence


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every holder and key of a tree."""
    if isinstance(content, list):
        pairs = list(enumerate(content))
    else:
        pairs = list(content.items()) if isinstance(content, dict) else []
    return [found for key, one in pairs for found in [(content, key), *places(one)]]


@st.composite
def edits(draw: st.DrawFn, content: Any, values: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> Any:
    """A copy of a tree after one to three edits."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(places(content)))
        match draw(st.sampled_from(["set", "copy", "remove", "add"])):
            case "set":
                holder[key] = draw(values)
            case "copy":  # what stands elsewhere
                other, place = draw(st.sampled_from(places(content)))
                holder[key] = copy.deepcopy(other[place])
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(keys)] = draw(values)
    return content


@given(edits(COMMITTED, TREES, KEYS))
@settings(max_examples=examples(40))
def test_any_edit_of_the_committed_file(content: Any) -> None:
    found = outcome(content)
    if isinstance(found, Settings):
        assert outcome(to_values(found)) == found
