"""Every preset: its values, its protocol, and what `der preset` writes."""

import hashlib
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from dvc.utils.serialize import loads_yaml
from jsonschema import Draft202012Validator

from der.core.files import read_json
from der.data.protocol import plan_steps
from der.pipeline.edits import planned_steps
from der.pipeline.presets import list_orders, load_preset, write_preset
from der.pipeline.project import PARAMS, compare
from der.settings.experiment import read_order
from der.settings.parsing import parse_yaml
from der.settings.sections import Named, to_values
from tests.locations import ROOT
from tests.pipeline.clones import COMMITTED, NAMES, PROTOCOLS, TEN_BY_TEN, class_names, settings_of, text_of
from tools.settings import SCHEMA

ORDER_DIGESTS = {  # of the names, taken when each was compared with its source
    "authors_0": "b7e843ee907c5721",
    "icarl_1993": "ca4dce77477cb635",
    "podnet_1": "1eb3ab7e9bf9d779",
    "podnet_2": "d5b8793a62bdeb9e",
    "podnet_3": "c896e36352f0f754",
}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_default_is_the_committed_file() -> None:
    assert text_of("digits") == COMMITTED


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_has_the_values_and_the_comments(name: str) -> None:
    places = {"path": "my #1: pictures", "downloads": "1"}
    text = write_preset(name, {f"dataset.{key}": place for key, place in places.items()})
    content = parse_yaml(text, PARAMS)
    preset = load_preset(name)
    assert content == loads_yaml(text) == preset | {"dataset": preset["dataset"] | places}
    assert re.findall(r" # .*", text) == re.findall(r" # .*", COMMITTED)
    assert text.splitlines()[:2] == COMMITTED.splitlines()[:2] and not re.search(r" $", text, re.MULTILINE)
    assert Draft202012Validator(read_json(Path(SCHEMA))).is_valid(content)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_holds_no_later_setting_that_is_off(name: str) -> None:
    """So checkpoints keep the bytes that they had before there was such a setting."""
    old = ["resized_crop", "crop_padding", "horizontal_flip", "brightness"]
    expected = [*old, "policy"] if name == "notebook_plus" else old
    assert [*to_values(settings_of(name).train.recipe(1))["augmentation"]] == expected


@pytest.mark.parametrize("name", NAMES)
def test_protocol(name: str) -> None:
    first, later, count = PROTOCOLS.get(name, TEN_BY_TEN)
    settings = settings_of(name)
    planned = planned_steps(settings)
    assert planned is None or len(planned) == count  # None: a folder, of which only the images tell
    steps = plan_steps(class_names(settings), settings.protocol)
    assert [len(step) for step in steps] == [first] + [later] * (count - 1)
    assert sorted(one for step in steps for one in step) == class_names(settings)


# Epochs, milestones, weight decay, batch size, epochs of warm-up, heads drawn anew after it.
NOTEBOOK = [60, 120, 170]
LONG = (170, [110, 130], 5e-4, 128, 10, True)
IMAGENET = (220, [80, 140, 180, 200], 5e-4, 256, 20, True)
RECIPES = {
    "notebook": [(201, NOTEBOOK, 5e-4, 128, 0, False), (171, NOTEBOOK, 5e-4, 128, 0, False)],
    "pycil_b0_10": [(200, NOTEBOOK, 5e-4, 128, 0, False), (170, [80, 120, 150], 2e-4, 128, 0, False)],
    "paper_b0_10": [LONG, LONG],
    "paper_b50_5": [(200, [60, 120, 160], 5e-4, 128, 0, False), LONG],
    "imagenet100_b0_10": [IMAGENET, IMAGENET],
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str) -> None:
    train = settings_of(name).train
    for phase, expected in zip((train.base, train.incremental), RECIPES[name], strict=True):
        found = (phase.epochs, phase.milestones, phase.weight_decay, phase.batch_size, phase.warmup_epochs)
        assert (*found, phase.reinitialize_heads) == expected
    for any_phase in (train.base, train.incremental, train.incremental.classifier):
        assert (any_phase.learning_rate, any_phase.decay, any_phase.momentum) == (0.1, 0.1, 0.9)
    assert train.incremental.auxiliary_weight == 1


def test_what_else_the_authors_recipes_say() -> None:
    paper, b50, images = map(settings_of, ("paper_b0_10", "paper_b50_5", "imagenet100_b0_10"))
    assert (paper.memory.budget, paper.memory.allocation) == (2000, "total")
    assert (b50.memory.budget, b50.memory.allocation) == (20, "per_class")
    stage = paper.train.incremental.classifier
    assert (stage.epochs, stage.milestones, stage.weight_decay, stage.batch_size) == (30, [15], 5e-4, 128)
    assert (stage.temperature, images.train.incremental.classifier.temperature) == (5.0, 1.0)
    assert (images.network.stem, images.dataset.image_side, images.dataset.source) == ("large", 224, "folder")


@pytest.mark.parametrize("name", NAMES)
def test_classifiers_start_as_in_the_program_whose_recipe_it_is(name: str) -> None:
    network = settings_of(name).network
    own, pycil, authors = ("torch_uniform", True), ("lecun_uniform", True), ("lecun_normal", False)
    others = {"digits": own, "digits_masks": own, "notebook": own, "pycil_b0_10": pycil}
    others |= {"photos": own, "photos_tuned": own, "notebook_plus": own}
    assert (network.head_initialization, network.inherit_head) == others.get(name, authors)


def test_an_ablation_is_one_change_to_the_paper() -> None:
    changes = {
        "ablation_no_auxiliary": {"train.incremental.auxiliary_weight": 0},
        "ablation_no_expansion": {"network.expansion": False, "train.incremental.auxiliary_weight": 0},
        "ablation_no_rebalancing": {"train.incremental.rebalancing": "none"},
        "ablation_random_exemplars": {"memory.selection": "random"},
    }
    paper = to_values(settings_of("paper_b0_10"))
    for name, expected in changes.items():
        assert {one.key: one.new for one in compare(paper, to_values(settings_of(name)))} == expected


def test_class_orders() -> None:
    alphabetical = sorted(read_order("podnet_1"))
    assert alphabetical[:3] == ["apple", "aquarium_fish", "baby"] and alphabetical[-1] == "worm"
    assert list_orders() == [*ORDER_DIGESTS] == [*get_args(Named)[1:]]
    shuffled = np.random.RandomState(1993).permutation(100)
    assert list(read_order("icarl_1993")) == [alphabetical[label] for label in shuffled]
    for name, digest in ORDER_DIGESTS.items():
        assert len(read_order(name)) == 100 and sorted(read_order(name)) == alphabetical
        assert hashlib.sha256(" ".join(read_order(name)).encode()).hexdigest()[:16] == digest
