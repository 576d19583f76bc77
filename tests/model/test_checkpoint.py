"""Checkpoint directories: the same bits back, or nothing changed."""

import os
from pathlib import Path

import pytest
import torch

from der.core.errors import DamageError, UserError
from der.model.checkpoint import (
    check_classes,
    load_checkpoint,
    load_previous,
    save_checkpoint,
)
from der.model.files import extractor_file
from der.settings.sections import to_values
from tests.builders import random_checkpoint, same_bits, train_settings, weights
from tests.model.checkpoint_files import FIRST, SECOND, contents, edit


def test_round_trip(saved: Path) -> None:
    for step, classes in ((1, FIRST), (2, SECOND)):
        written, read = random_checkpoint(classes), load_checkpoint(saved.parent / str(step))
        assert read.metadata == written.metadata
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


def test_files_of_a_step(saved: Path) -> None:
    names = {"extractor_1.safetensors", "extractor_2.safetensors", "head.safetensors", "network.json"}
    assert contents(saved).keys() == {*names, "manifest.json"}


def test_a_frozen_extractor_is_the_same_file(saved: Path) -> None:
    name = extractor_file(1)
    assert (saved / name).samefile(saved.parent / "1" / name)
    assert not (saved / extractor_file(2)).samefile(saved / name)


def test_a_frozen_extractor_is_copied_where_links_are_impossible(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    copied = saved.parent / "copied"
    save_checkpoint(copied, random_checkpoint(SECOND), saved.parent / "1")
    assert contents(copied) == contents(saved)


def test_before_step_1_there_is_no_checkpoint(saved: Path) -> None:
    assert load_previous(saved.parent / "0") is None
    message = r"0: the checkpoint before step 1, which knows no class; take that of a step$"
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved.parent / "0")


def test_class_names_in_label_order(saved: Path) -> None:
    metadata = load_checkpoint(saved).metadata
    assert metadata.class_names == [f"class {label}" for label in range(5)]


def test_saving_twice_gives_the_same_bytes(saved: Path) -> None:
    before = contents(saved)
    save_checkpoint(saved, random_checkpoint(SECOND), saved.parent / "1")
    assert contents(saved) == before


def test_a_failure_leaves_the_old_checkpoint(saved: Path) -> None:
    before = contents(saved)
    broken = random_checkpoint(SECOND)
    torch.nn.init.constant_(broken.network.head.weight, torch.inf)
    with pytest.raises(UserError, match="not finite"):
        save_checkpoint(saved, broken, saved.parent / "1")
    assert contents(saved) == before


def test_other_classes_than_those_of_the_protocol_are_named(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    steps = [["class 0", "class 1", "class 2"], ["class 3", "class 4"]]
    check_classes(saved, checkpoint, steps)
    check_classes(saved.parent / "0", None, [])
    for other in ([], steps[:1], [steps[0], steps[1][::-1]], [[*steps[0], *steps[1]]]):
        with pytest.raises(
            UserError, match=r"2: of other classes than the protocol's; train its step again$"
        ):
            check_classes(saved, checkpoint, other)


def test_a_step_more_than_there_are_files_is_named(saved: Path) -> None:
    recipes = [to_values(train_settings().recipe(step)) for step in (1, 2, 3)]
    edit(saved, steps=[["a"], ["b"], ["c"]], shapes=[None] * 3, recipes=recipes)
    with pytest.raises(DamageError, match=r"extractor_3\.safetensors: cannot be read"):
        load_checkpoint(saved)
