"""Files of weights that are damaged, exchanged, of another network or not finite: each is named."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from der.core.errors import DamageError, UserError
from der.core.sealed import SealedDirectory, digest_file, seal
from der.model.checkpoint import load_checkpoint, save_checkpoint
from der.model.files import HEAD, METADATA, extractor_file
from der.model.weights import save_weights
from tests.builders import random_checkpoint, same_bits
from tests.model.checkpoint_files import (
    DAMAGES,
    SECOND,
    WEIGHTS,
    contents,
    invert_a_byte,
    put_nothing,
    put_pickle,
    put_torch_save,
    truncate,
)


def test_weights_that_layers_share_are_in_the_file_for_each(tmp_path: Path) -> None:
    shared = torch.nn.Linear(2, 3, bias=False)
    save_weights(torch.nn.ModuleDict({"first": shared, "second": shared}), tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert same_bits(found, {f"{name}.weight": shared.weight for name in ("first", "second")})


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("damage", [*DAMAGES, invert_a_byte], ids=lambda damage: damage.__name__)
def test_a_damaged_file_of_weights_is_named(name: str, damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / f"{name}.safetensors")
    fault = r"cannot be read \(" if damage is Path.unlink else "damaged, its bytes are not those"
    with pytest.raises(DamageError, match=rf"{name}\.safetensors: {fault}"):
        load_checkpoint(saved)


@pytest.mark.parametrize("target", ["/dev/zero", None], ids=["device", "pipe"])
def test_what_is_no_file_is_not_waited_for(target: str | None, saved: Path) -> None:
    path = saved / HEAD
    path.unlink()
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    with pytest.raises(UserError, match=r"head\.safetensors: cannot be read"):
        load_checkpoint(saved)


@pytest.mark.parametrize("damage", [truncate, put_pickle, put_torch_save, put_nothing])
def test_a_damaged_file_that_is_on_record_is_named(damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / HEAD)
    seal(saved, {})
    with pytest.raises(UserError, match=r"head\.safetensors: cannot be read as weights \("):
        load_checkpoint(saved)


def test_extractors_that_changed_places_are_named(saved: Path) -> None:
    first, second = (saved / extractor_file(index) for index in (1, 2))
    first.rename(saved / "other")
    second.rename(first)
    (saved / "other").rename(second)
    with pytest.raises(DamageError, match=r"extractor_1\.safetensors: damaged, its bytes are not those"):
        load_checkpoint(saved)


def test_recorded_digests_are_those_of_the_files(saved: Path) -> None:
    names = [*(f"{name}.safetensors" for name in WEIGHTS), METADATA]
    assert SealedDirectory(saved).digests == {name: digest_file(saved / name) for name in names}


def test_a_frozen_extractor_keeps_its_digest_on_record(saved: Path) -> None:
    damaged = saved.parent / "1" / extractor_file(1)
    invert_a_byte(damaged)
    save_checkpoint(saved, random_checkpoint(SECOND), saved.parent / "1")
    with pytest.raises(DamageError, match=r"extractor_1\.safetensors: damaged, its bytes are not those"):
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


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_not_loaded(name: str, value: float, saved: Path) -> None:
    path = saved / f"{name}.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    list(tensors.values())[-1].view(-1)[-1] = value
    path.unlink()
    save_file(tensors, path)
    seal(saved, {})
    with pytest.raises(UserError, match=rf"{name}\.safetensors: \S+ is not finite; train it again$"):
        load_checkpoint(saved)


@pytest.mark.parametrize("number", [0.0, -1e-30, -1.0])
def test_a_variance_below_zero_is_not_loaded(number: float, saved: Path) -> None:
    path = saved / "extractor_2.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    name = next(key for key in tensors if key.endswith("running_var"))
    tensors[name][1] = number
    path.unlink()
    save_file(tensors, path)
    seal(saved, {})
    if number == 0:
        load_checkpoint(saved)
        return
    with pytest.raises(UserError, match=rf"_2\.safetensors: {name}, a variance, is below 0; train it again$"):
        load_checkpoint(saved)


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
    seal(saved, {})
    message = rf"{name}\.safetensors: not the weights of the network that network\.json describes; train"
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)
