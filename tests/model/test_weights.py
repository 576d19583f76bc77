"""Weights to start from: files by the names of timm's models, and every way to be refused."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from der.core.errors import DamageError, UserError
from der.core.files import SealedDirectory
from der.model.checkpoint import load_previous, load_start, save_empty_checkpoint
from der.model.network import empty_network, expand
from der.model.weights import read_start
from tests.builders import network_settings, same_bits
from tests.model.tiny_timm import BACKBONE, NAME, settings_for, start_for, whole_model, write_weights

Tensors = dict[str, Tensor]


def tensors() -> Tensors:
    return {name: value.clone() for name, value in whole_model().state_dict().items()}


def read(path: Path, **changes: Any) -> Tensors:
    return dict(start_for(settings_for(path, **changes)).tensors)


def test_by_name_without_classifier_and_counters(tmp_path: Path) -> None:
    kept = {
        f"model.{name}": value
        for name, value in tensors().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("classifier.")
    }
    assert same_bits(read(write_weights(tmp_path)), kept)


def under(prefix: str, all_: Tensors) -> Tensors:
    return {f"{prefix}{name}": value for name, value in all_.items()}


SAVED: dict[str, Callable[[Path, Tensors], None]] = {
    "other order.pth": lambda path, all_: torch.save(dict(reversed(all_.items())), path),
    "double precision.pth": lambda path, all_: torch.save({n: v.double() for n, v in all_.items()}, path),
    "a.safetensors": lambda path, all_: save_file(all_, path),
    "before 1.6.pth": lambda path, all_: torch.save(all_, path, _use_new_zipfile_serialization=False),
    "without classifier.pth": lambda path, all_: torch.save(
        {name: value for name, value in all_.items() if not name.startswith("classifier.")}, path
    ),
    "a compiled model in parallel.pth": lambda path, all_: torch.save(
        under("module.", under("_orig_mod.", all_)), path
    ),
    "an extractor.safetensors": lambda path, all_: save_file(under("model.", all_), path),
    "inside.pth": lambda path, all_: torch.save({"state_dict": all_, "epoch": 3}, path),
    "averages first.pth": lambda path, all_: torch.save(
        {"state_dict": {}, "state_dict_ema": all_, "epoch": 3}, path
    ),
}


@pytest.mark.parametrize("name", SAVED)
def test_the_same_weights_have_one_identity(name: str, tmp_path: Path) -> None:
    SAVED[name](tmp_path / name, tensors())
    expected, found = (start_for(settings_for(one)) for one in (write_weights(tmp_path), tmp_path / name))
    assert found.identity == expected.identity
    assert found.identity.startswith("sha256:") and len(found.identity) == 7 + 64
    changed = tensors()
    changed["conv_stem.weight"][0, 0, 0, 0] += 1
    torch.save(changed, tmp_path / "changed.pth")
    assert start_for(settings_for(tmp_path / "changed.pth")).identity != found.identity


def with_value(name: str, value: float) -> Callable[[Tensors], Any]:
    def change(all_: Tensors) -> Tensors:
        all_[name].view(-1)[0] = value
        return all_

    return change


def with_bias(change: Callable[[Tensor], object]) -> Callable[[Tensors], Any]:
    return lambda all_: all_ | {"bn1.bias": change(all_["bn1.bias"])}


REFUSED: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "one is missing": (
        lambda all_: {name: value for name, value in all_.items() if name != "bn1.bias"},
        rf"not the weights of {BACKBONE}, as bn1\.bias shows; give a file of its state_dict\(\)$",
    ),
    "one too many": (
        lambda all_: all_ | {"extra.weight": torch.zeros(1)},
        rf"not the weights of {BACKBONE}, as extra\.weight shows; give a file of its state_dict\(\)$",
    ),
    "other names": (lambda all_: under("layer", all_), r", as conv_stem\.weight shows; give"),
    "another shape": (with_bias(lambda value: value[:2]), r", as bn1\.bias shows; give"),
    "whole numbers": (
        lambda all_: {name: (100 * value).to(torch.int8) for name, value in all_.items()},
        r", as conv_stem\.weight shows; give",
    ),
    "a list as a tensor": (with_bias(list), r", as bn1\.bias shows; give"),
    "complex": (with_bias(lambda value: value.to(torch.complex64)), r", as bn1\.bias shows; give"),
    "NaN": (with_value("bn1.bias", torch.nan), r"model\.bn1\.bias holds no weights, but infinity, NaN or a"),
    "a variance below 0": (
        with_value("bn1.running_var", -1.0),
        r"model\.bn1\.running_var holds no weights, but infinity, NaN or a variance below 0$",
    ),
    "nothing": (lambda all_: {"state_dict": {}}, r", as conv_stem\.weight shows; give"),
    "a list": (lambda all_: [*all_.values()], r"cannot be read as weights \(.*\); give another file$"),
    "names that are numbers": (lambda all_: {0: torch.ones(1)}, r"cannot be read as weights \("),
    "a function": (lambda all_: {"state_dict": print}, r"cannot be read as weights \(not tensors alone, or"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(name: str, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    path = tmp_path / "weights.pth"
    torch.save(change(tensors()), path)
    with pytest.raises(UserError, match=rf"^network\.weights: {path}: .*{message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_would_run_code_runs_none_and_nothing_advises_to_run_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in (b"", b"X", b"PK\x03\x04", pickle.dumps({"a": Trap(tmp_path / "ran")})):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"^network\.weights: {path}: cannot be read as") as caught:
            read(path)
        assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="cannot be read as weights"):
        read(tmp_path / "nowhere.pth")


def test_the_directory_before_step_1_holds_them(tmp_path: Path) -> None:
    start = start_for(settings_for(write_weights(tmp_path)))
    save_empty_checkpoint(tmp_path / "0", start)
    assert load_previous(tmp_path / "0") is None
    found = load_start(tmp_path / "0")
    assert found is not None and same_bits(dict(found.tensors), dict(start.tensors))
    digests = SealedDirectory(tmp_path / "0").digests
    assert found.identity == start.identity == f"sha256:{digests['start.safetensors']}"
    (tmp_path / "0/start.safetensors").write_bytes(b"x")
    with pytest.raises(DamageError):
        load_start(tmp_path / "0")


def test_weights_of_colour_images_are_refused_for_grey_ones(tmp_path: Path) -> None:
    settings = settings_for(write_weights(tmp_path))
    with pytest.raises(UserError, match=r"^network\.weights: not of this .*; write dataset\.channels: 3"):
        expand(empty_network(), 2, settings, 1, torch.Generator(), start_for(settings))


def test_without_a_network_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    settings = network_settings(backbone=BACKBONE, weights="pretrained")
    with pytest.raises(UserError) as caught:
        read_start(settings, "pretrained")
    message = str(caught.value)
    assert message.startswith(f"network.weights: those of {BACKBONE} cannot be downloaded (")
    assert message.endswith("); load them where there is a network, and write the path of their file")


def test_a_download_is_what_a_file_would_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    create, whole, asked = timm.create_model, whole_model(), []

    def download(name: str, pretrained: bool = False, **options: Any) -> Any:
        model = create(name, **options)
        if pretrained:
            asked.append(name)
            model.load_state_dict(whole.state_dict(), strict=False)
        return model

    monkeypatch.setattr(timm, "create_model", download)
    settings = network_settings(backbone=BACKBONE, weights="pretrained")
    expected = start_for(settings_for(write_weights(tmp_path)))
    assert read_start(settings, "pretrained").identity == expected.identity and asked == [NAME]
