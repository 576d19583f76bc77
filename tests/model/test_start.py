"""Weights to start from: files by name and by order, what is known of them, and every way to be refused."""

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
from der.core.sealed import SealedDirectory
from der.model.expansion import expand
from der.model.metadata import open_checkpoint, read_metadata
from der.model.network import empty_network
from der.model.start import load_start, read_start, save_start
from tests.builders import network_settings, same_bits
from tests.model.tiny_timm import BACKBONE, NAME, settings_for, start_for, whole_model, write_weights

Tensors = dict[str, Tensor]


def tensors() -> Tensors:
    return {name: value.clone() for name, value in whole_model().state_dict().items()}


def read(path: Path) -> Tensors:
    return dict(start_for(settings_for(path)).tensors)


def test_by_name_without_classifier_and_counters(tmp_path: Path) -> None:
    found = read(write_weights(tmp_path))
    kept = {
        name: value
        for name, value in tensors().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("classifier.")
    }
    assert same_bits(found, {f"model.{name}": value for name, value in kept.items()})


SAVED: dict[str, Callable[[Path, Tensors], None]] = {
    "other order.pth": lambda path, all_: torch.save(dict(reversed(all_.items())), path),
    "inside.pth": lambda path, all_: torch.save({"state_dict": all_, "epoch": 3}, path),
    "halves.pth": lambda path, all_: torch.save({n: v.to(torch.float64) for n, v in all_.items()}, path),
    "a.safetensors": lambda path, all_: save_file(all_, path),
    "without classifier.pth": lambda path, all_: torch.save(
        {name: value for name, value in all_.items() if not name.startswith("classifier.")}, path
    ),
    "other names.pth": lambda path, all_: torch.save(
        {f"layer {index}": value for index, value in enumerate(without_counters(all_).values())}, path
    ),
    "of the model in parallel, backwards.pth": lambda path, all_: torch.save(
        dict(reversed(under("module.", all_).items())), path
    ),
    "of a compiled model in parallel.pth": lambda path, all_: torch.save(
        under("_orig_mod.module.", all_), path
    ),
    "of transformers.safetensors": lambda path, all_: save_file(under("timm_model.", all_), path),
    "of an extractor.safetensors": lambda path, all_: save_file(under("model.", all_), path),
    "averaged ones first.pth": lambda path, all_: torch.save(
        {"state_dict": drawn(all_), "state_dict_ema": all_, "epoch": 3}, path
    ),
    "of PyTorch's tutorial.pth": lambda path, all_: torch.save(
        {"model_state_dict": all_, "optimizer_state_dict": {"state": {}}, "epoch": 3}, path
    ),
    "averaged ones beside none.pth": lambda path, all_: torch.save({"model_ema": all_}, path),
    "without averaged ones.pth": lambda path, all_: torch.save({"model": all_, "model_ema": None}, path),
}


def under(prefix: str, all_: Tensors) -> Tensors:
    return {f"{prefix}{name}": value for name, value in all_.items()}


def drawn(all_: Tensors) -> Tensors:
    return {name: torch.rand(value.shape) for name, value in all_.items()}


def without_counters(all_: Tensors) -> Tensors:
    return {name: value for name, value in all_.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", SAVED)
def test_the_same_weights_have_one_identity(name: str, tmp_path: Path) -> None:
    SAVED[name](tmp_path / name, tensors())
    expected = start_for(settings_for(write_weights(tmp_path)))
    found = start_for(settings_for(tmp_path / name))
    assert found.identity == expected.identity
    assert found.identity.startswith("sha256:") and len(found.identity) == 7 + 64


def test_one_value_more_is_another_identity(tmp_path: Path) -> None:
    changed = tensors()
    changed["conv_stem.weight"][0, 0, 0, 0] += 1
    torch.save(changed, tmp_path / "changed.pth")
    first, other = (
        start_for(settings_for(path)) for path in (write_weights(tmp_path), tmp_path / "changed.pth")
    )
    assert first.identity != other.identity


def renamed(all_: Tensors) -> Tensors:
    values = list(without_counters(all_).values())
    values[0], values[5] = values[5], values[0]
    return {f"layer {index}": value for index, value in enumerate(values)}


def with_value(name: str, value: float) -> Callable[[Tensors], Any]:
    def change(all_: Tensors) -> Tensors:
        all_[name].view(-1)[0] = value
        return all_

    return change


def test_a_head_that_has_more_than_a_classifier(tmp_path: Path) -> None:
    path = write_weights(tmp_path, "levit_128s")  # with a normalisation before it
    assert "head.bn.weight" in torch.load(path)
    before = torch.get_rng_state()
    start = start_for(settings_for(path, backbone="timm:levit_128s"))
    assert start.tensors and not [name for name in start.tensors if "head" in name]
    assert torch.equal(torch.get_rng_state(), before)


def by_layers(all_: Tensors) -> Tensors:
    """The tensors of a program whose names, other ones, sort as the layers do."""
    layers = [*dict.fromkeys(name.rpartition(".")[0] for name in without_counters(all_))]
    return {
        f"layer{layers.index(layer):03}.{last}": value
        for name, value in without_counters(all_).items()
        for layer, _, last in [name.rpartition(".")]
    }


PLAIN = "timm:test_resnet"  # without a bias beside a weight of another shape: sorted, its shapes are the same


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A file of a model, by the names of another program."""
    path = tmp_path / "other.pth"
    torch.save(by_layers(dict(whole_model("test_resnet").state_dict())), path)
    return path


def test_what_keeps_no_order_is_not_taken_by_its_order(plain: Path, tmp_path: Path) -> None:
    expected = start_for(settings_for(write_weights(tmp_path, "test_resnet"), backbone=PLAIN))
    assert start_for(settings_for(plain, backbone=PLAIN)).identity == expected.identity
    path = tmp_path / "other.safetensors"
    save_file(torch.load(plain), path)
    with pytest.raises(UserError) as caught:
        start_for(settings_for(path, backbone=PLAIN))
    assert str(caught.value) == (
        f"network.weights: {path}: {PLAIN} has other names for its tensors, and safetensors keeps no order "
        "to tell them by; give a file with the names of that model, or one of torch.save in its order"
    )


def test_names_that_are_sorted_are_not_in_the_order_of_layers(plain: Path) -> None:
    torch.save(dict(sorted(torch.load(plain).items())), plain)
    with pytest.raises(UserError, match=r"other names .* not one to one .* in the same order; give"):
        start_for(settings_for(plain, backbone=PLAIN))


REFUSED: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "one is missing": (
        lambda all_: {name: value for name, value in all_.items() if name != "bn1.bias"},
        rf"{BACKBONE} has a tensor bn1\.bias, which is not there; give a file of that model",
    ),
    "one too many": (
        lambda all_: all_ | {"extra.weight": torch.zeros(1)},
        rf"{BACKBONE} has no tensor extra\.weight; give a file of that model",
    ),
    "another shape": (
        lambda all_: all_ | {"bn1.bias": torch.zeros(2)},
        r"has bn1\.bias of shape \(24,\), not \(2,\); give a file of that model",
    ),
    "other names in another order": (renamed, r"other names .* not one to one .* in the same order; give"),
    "NaN": (with_value("bn1.bias", torch.nan), r"model\.bn1\.bias holds no weights, but infinity, NaN or"),
    "a variance below 0": (
        with_value("bn1.running_var", -1.0),
        r"model\.bn1\.running_var holds no weights, but infinity, NaN or a variance below 0",
    ),
    "whole numbers in its order": (
        lambda all_: {name: value.int() for name, value in by_layers(all_).items()},
        r"other names .* not one to one .* kinds in the same order; give",
    ),
    "no tensor": (lambda all_: {"state_dict": {}}, r"holds no tensors by name; save .* state_dict\(\) alone"),
    "whole numbers": (
        lambda all_: {name: (100 * value).to(torch.int8) for name, value in all_.items()},
        r"has conv_stem\.weight of torch\.float32, not torch\.int8; give a file of that model",
    ),
    "a list": (lambda all_: [*all_.values()], r"holds no tensors by name; save .* state_dict\(\) alone"),
    "a number among them": (lambda all_: all_ | {"epoch": 1}, r"holds no tensors by name; save .* alone"),
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


@pytest.mark.filterwarnings("ignore:.*quantized:UserWarning")  # which torch will do without
@pytest.mark.parametrize(
    "change",
    [
        Tensor.to_sparse,
        lambda value: value.to(torch.complex64),
        lambda value: value.to("meta"),
        lambda value: torch.quantize_per_tensor(value, 1.0, 0, torch.qint8),
    ],
    ids=["sparse", "complex", "meta", "quantised"],
)
def test_tensors_that_are_not_plain_numbers(change: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    path, all_ = tmp_path / "weights.pth", tensors()
    torch.save(all_ | {"bn1.bias": change(all_["bn1.bias"])}, path)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == (
        f"network.weights: {path}: bn1.bias holds no weights, but sparse, quantised, complex or no numbers; "
        "give another file"
    )


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for content in (None, b"", b"not weights", pickle.dumps([1])[:-1]):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=rf"^network\.weights: {path}: cannot be read as weights \("):
            read(path)


def test_what_would_run_code_runs_none(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"a": Trap()}))
    with pytest.raises(UserError, match="cannot be read as weights"):
        read(path)
    assert not (tmp_path / "ran").exists()


def test_the_directory_before_step_1_holds_them(tmp_path: Path) -> None:
    start = start_for(settings_for(write_weights(tmp_path)))
    save_start(tmp_path / "0", start)
    assert read_metadata(open_checkpoint(tmp_path / "0")) is None
    found = load_start(tmp_path / "0")
    assert found is not None and same_bits(dict(found.tensors), dict(start.tensors))
    digests = SealedDirectory(tmp_path / "0").digests
    assert found.identity == start.identity == f"sha256:{digests['start.safetensors']}"
    (tmp_path / "0/start.safetensors").write_bytes(b"x")
    with pytest.raises(DamageError):
        load_start(tmp_path / "0")


def test_weights_of_colour_images_are_refused_for_grey_ones(tmp_path: Path) -> None:
    settings = settings_for(write_weights(tmp_path))
    with pytest.raises(
        UserError, match=r"^network\.weights: not of this network .*; write dataset\.channels: 3"
    ):
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


def test_what_is_downloaded_is_what_a_file_would_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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
