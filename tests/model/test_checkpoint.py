"""Checkpoint directories: the same bits back, or one sentence that names what is wrong; nothing is run."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from der.core.errors import DamageError, UserError
from der.core.files import seal
from der.model.architecture import HEAD, extractor_file
from der.model.checkpoint import Metadata, check_classes, load_checkpoint, load_previous, save_checkpoint
from der.settings.sections import to_values
from tests.builders import assert_saved, network_settings, random_checkpoint, same_bits, save_steps, weights
from tests.settings.test_sections import edits

FIRST, SECOND = [3], [3, 2]  # classes per step
WEIGHTS = ["extractor_1", "extractor_2", "head"]  # of the second one
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two steps, beside those of step 0 and step 1."""
    place = tmp_path_factory.mktemp("original")
    return save_steps(place, random_checkpoint(FIRST), random_checkpoint(SECOND))


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy for each test."""
    shutil.copytree(original.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "2"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def edit(saved: Path, **changes: Any) -> None:
    """Change network.json, with a manifest that says so."""
    content = json.loads((saved / "network.json").read_text())
    (saved / "network.json").write_text(json.dumps(content | changes))
    seal(saved, {})


def rewrite(path: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Change a file of weights, with a manifest that says so."""
    tensors = {name: value.contiguous() for name, value in change(load_file(path)).items()}
    path.unlink()  # not in place: the file may be linked
    save_file(tensors, path)
    seal(path.parent, {})


def test_round_trip(saved: Path) -> None:
    assert_saved(saved.parent, random_checkpoint(FIRST), random_checkpoint(SECOND))
    read = load_checkpoint(saved)
    assert not any(module.training for module in read.network.modules())
    assert read.metadata.class_names == [f"class {label}" for label in range(5)]


def test_saving_again_gives_the_same_bytes_whatever_the_memory_format(saved: Path) -> None:
    before, checkpoint = contents(saved), random_checkpoint(SECOND)
    assert before.keys() == {*(f"{name}.safetensors" for name in WEIGHTS), "network.json", "manifest.json"}
    checkpoint.network.to(memory_format=torch.channels_last)
    save_checkpoint(saved, checkpoint, saved.parent / "1")
    assert contents(saved) == before


def test_a_frozen_extractor_is_linked_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save_steps(tmp_path, random_checkpoint(FIRST), random_checkpoint(SECOND))
    name = extractor_file(1)
    assert (saved / name).samefile(saved.parent / "1" / name)

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    copied = saved.parent / "copied"
    save_checkpoint(copied, random_checkpoint(SECOND), saved.parent / "1")
    assert not (copied / name).samefile(saved / name)
    assert contents(copied) == contents(saved)


def test_before_step_1_there_is_no_checkpoint(saved: Path) -> None:
    assert load_previous(saved.parent / "0") is None
    with pytest.raises(UserError, match=r"0: the checkpoint before step 1, which knows no class; take that"):
        load_checkpoint(saved.parent / "0")


def test_other_classes_than_those_of_the_protocol_are_named(saved: Path) -> None:
    metadata = load_checkpoint(saved).metadata
    steps = [["class 0", "class 1", "class 2"], ["class 3", "class 4"]]
    check_classes(saved, metadata, steps)
    check_classes(saved.parent / "0", None, [])
    for other in ([], steps[:1], [steps[0], steps[1][::-1]], [[*steps[0], *steps[1]]]):
        with pytest.raises(UserError, match=r"2: of other classes than the protocol's; train its step again"):
            check_classes(saved, metadata, other)


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "a pickle": lambda whole: pickle.dumps(Trap()),
    "nothing": lambda whole: b"",
    "another byte": lambda whole: bytes([*whole[:-100], whole[-100] ^ 0xFF, *whole[-99:]]),
}


def damage(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(DAMAGE[kind](whole))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("extractor_1.safetensors", kind) for kind in DAMAGE),
        *((name, "another byte") for name in ("extractor_2.safetensors", HEAD, "network.json")),
    ],
)
def test_a_damaged_file_is_named(name: str, kind: str, saved: Path) -> None:
    damage(saved / name, kind)
    with pytest.raises(DamageError, match=rf"{name}: damaged, its bytes are not those that were written$"):
        load_checkpoint(saved)


def test_a_frozen_extractor_keeps_its_digest_so_that_damage_shows(saved: Path) -> None:
    damage(saved.parent / "1" / extractor_file(1), "another byte")
    save_checkpoint(saved, random_checkpoint(SECOND), saved.parent / "1")
    with pytest.raises(DamageError, match=r"extractor_1\.safetensors: damaged, its bytes are not those"):
        load_checkpoint(saved)


def test_what_is_no_directory_is_no_checkpoint(saved: Path) -> None:
    for path in (saved / HEAD, saved / "nowhere"):
        with pytest.raises(UserError, match=rf"{path}: no DER checkpoint, a directory with network\.json$"):
            load_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_not_saved(value: float, saved: Path) -> None:
    before, broken = contents(saved), random_checkpoint(SECOND)
    next(iter(broken.network.extractors[-1].state_dict().values())).view(-1)[3] = value
    with pytest.raises(UserError, match=r"^extractor_2\.safetensors: .*weight is not finite after training;"):
        save_checkpoint(saved, broken, saved.parent / "1")
    assert contents(saved) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
        lambda tensors: dict(list(tensors.items())[1:]),
        lambda tensors: {name: value[:-1] for name, value in tensors.items()},
        lambda tensors: {name: value.half() for name, value in tensors.items()},
    ],
    ids=["other names", "one less", "other shapes", "other numbers"],
)
@pytest.mark.parametrize("name", ["extractor_1.safetensors", HEAD])
def test_others_weights_are_named(name: str, change: Callable[[Tensors], Tensors], saved: Path) -> None:
    rewrite(saved / name, change)
    with pytest.raises(UserError, match=rf"{name}: not the weights of the network that network\.json"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", ["[]", "5", "{}", '{"format": 1, "steps": []}', '{"format": "1"}'])
def test_foreign_metadata_are_named(content: str, saved: Path) -> None:
    (saved / "network.json").write_text(content)
    seal(saved, {})
    with pytest.raises(UserError, match=r"network\.json: not a DER checkpoint of format 2; train it again$"):
        load_checkpoint(saved)


def normalization(mean: float, std: float) -> dict[str, list[float]]:
    return {"mean": [0.5, mean, 0.5], "std": [0.2, std, 0.2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, r"json\.surprise: unknown key; known here: format"),
        ({"steps": None}, r"json\.steps: is empty; write a list"),
        ({"image_side": "8"}, r"json\.image_side: '8' does not fit; write a whole number"),
        ({"image_side": 0}, r"json\.image_side: 0 is out of range; write a number of at least 8"),
        ({"channels": 2}, r"json\.channels: 2 does not fit; write 1 or 3"),
        ({"steps": [["a"], [1]]}, r"json\.steps\[1\]\[0\]: 1 does not fit"),
        ({"resize": "squeeze"}, r"json\.resize: 'squeeze' does not fit; write cover, centre-crop"),
        ({"normalization": normalization(0.5, 0)}, r"json\.normalization\.std: 0 is out of range"),
        ({"normalization": normalization(1.5, 1)}, r"json\.normalization\.mean: 1\.5 is out of range"),
        ({"network": to_values(network_settings(depth=9))}, r"json\.network\.depth: 9 is not 6n \+ 2; write"),
        ({"network": to_values(network_settings(depth=14))}, r"extractor_1\.\w+: not the weights of the net"),
        ({"network": to_values(network_settings(backbone="vgg"))}, r"json\.network\.backbone: 'vgg' does"),
    ],
)
def test_metadata_that_do_not_fit_are_named(changes: dict[str, Any], message: str, saved: Path) -> None:
    edit(saved, **changes)
    with pytest.raises(UserError, match=message):
        load_checkpoint(saved)


WRITTEN = random_checkpoint(SECOND)
CONTENT = json.loads(json.dumps(to_values(WRITTEN.metadata)))
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 2, 3, 8, 14, 2**31, 2**63, 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(["resnet", "large"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def rewritten(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose network.json every example writes anew."""
    return shutil.copytree(original, tmp_path_factory.mktemp("copy") / "2")


def architecture(metadata: Metadata) -> list[Any]:
    """What decides on the numbers that weights give, but the normalisation, which any may be."""
    network = metadata.network
    classes = len(metadata.class_names)
    return [classes, metadata.channels, network.backbone, network.depth, network.stem, metadata.parameters]


@pytest.mark.slow
@given(content=edits(CONTENT, VALUES, st.text(max_size=8)))
def test_an_edited_description_means_what_it_says_or_is_refused(content: Any, rewritten: Path) -> None:
    (rewritten / "network.json").write_text(json.dumps(content))
    seal(rewritten, {})  # as a stranger does who wants it believed
    loaded, sentence = None, ""
    try:
        loaded = load_checkpoint(rewritten)
    except UserError as error:
        sentence = str(error)
    if loaded is None:
        assert re.fullmatch(r".*network\.json.*|.* it records|.*; take that of a step", sentence), sentence
        return
    assert to_values(loaded.metadata) == content  # 1.0 for 1 is the same
    assert same_bits(weights(loaded.network), weights(WRITTEN.network))
    assert architecture(loaded.metadata) == architecture(WRITTEN.metadata)
