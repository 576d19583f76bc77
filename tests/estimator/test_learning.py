"""Classifiers on disk: what is saved goes on learning, and nothing else is replaced or believed."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import der
from tests.estimator.tiny import noise, state_of, taught


@pytest.fixture(scope="module")
def model() -> der.DERClassifier:
    """A classifier that knows 1 and 2."""
    return taught((1, 2))


def test_a_saved_classifier_goes_on_learning(tmp_path: Path) -> None:
    model = taught((1, 2))
    model.save(tmp_path / "model")
    loaded = der.load(tmp_path / "model", device="cpu")
    assert loaded.classes_.tolist() == [1, 2] and loaded.settings_ == model.settings_
    assert state_of(loaded) == state_of(model)
    model.partial_fit(*noise(3, 4))
    loaded.partial_fit(*noise(3, 4))
    assert state_of(loaded) == state_of(model)
    metrics = [one.evaluate(*noise(1, 2, 3, 4)) for one in (model, loaded)]
    assert metrics[0] == metrics[1]


def test_a_compressed_classifier_predicts_is_saved_and_goes_on_learning(tmp_path: Path) -> None:
    model = taught((1, 2), (3,), compress__epochs=1, compress__batch_size=6)
    before = state_of(model)
    small, alone = model.compress(*noise(3)), model.compress()  # alone: from exemplars
    assert state_of(model) == before and len({before, state_of(small), state_of(alone)}) == 3
    assert small.classes_.tolist() == [1, 2, 3] and small.predict(noise(1)[0]).shape == (6,)
    sizes = [one.evaluate(*noise(1, 2, 3))["parameters"] for one in (small, model)]
    assert sizes[0] < 0.6 * sizes[1]
    small.save(tmp_path / "small")
    loaded = der.load(tmp_path / "small", device="cpu")
    assert state_of(loaded) == state_of(small)
    assert loaded.partial_fit(*noise(4)).classes_.tolist() == [1, 2, 3, 4]
    assert len(list((tmp_path / "small/checkpoint").glob("extractor_*"))) == 1
    with pytest.raises(der.UserError, match=r"^labels: 9 not learned; leave their images out$"):
        model.compress(*noise(3, 9))


def test_saving_replaces_a_saved_classifier_alone(tmp_path: Path) -> None:
    model = taught((1, 2))
    model.save(tmp_path / "model")
    model.partial_fit(*noise(3)).save(tmp_path / "model")
    assert der.load(tmp_path / "model").classes_.tolist() == [1, 2, 3]
    precious = tmp_path / "photos" / "one.jpg"
    precious.parent.mkdir()
    precious.touch()
    beside = tmp_path / "model" / "notes.txt"
    beside.touch()
    (tmp_path / "link").symlink_to(tmp_path / "model")
    for path in (precious.parent, precious, tmp_path / "model", tmp_path / "link"):
        with pytest.raises(der.UserError, match="give another"):
            model.save(path)
    assert precious.exists() and beside.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../work", "elsewhere/..", "/"])
def test_no_name_is_refused(
    name: str, model: der.DERClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(der.UserError, match=r"is no name of a new directory; give one, as 'model'$"):
        model.save(name)
    assert Path.cwd().exists()


def test_a_place_that_cannot_be_written_is_one_sentence(model: der.DERClassifier, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file/model", tmp_path / ("n" * 300), Path("/proc/model")):
        with pytest.raises(der.UserError, match=r": cannot be written \(.+\); give a directory that can be$"):
            model.save(path)


def test_damage_and_foreign_directories_are_named(tmp_path: Path) -> None:
    taught((1, 2)).save(tmp_path / "model")
    taught((1, 2, 3)).save(tmp_path / "other")
    with pytest.raises(der.UserError, match="no DER checkpoint"):
        der.load(tmp_path)
    with pytest.raises(der.UserError, match="memory of another step"):
        der.load(tmp_path / "model/checkpoint", tmp_path / "other/memory", der.preset("digits"))
    with pytest.raises(der.UserError, match=r"params\.yaml"):
        der.load(tmp_path / "model/checkpoint", tmp_path / "model/memory")
    for name in ("model.json", "memory/images.npy", "checkpoint/head.safetensors"):
        file = tmp_path / "model" / name
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(der.UserError, match=f"{name}: damaged"):
            der.load(tmp_path / "model")
        file.write_bytes(content)
    shutil.copytree(tmp_path / "model/checkpoint", tmp_path / "alone")
    for memory in (None, tmp_path / "nowhere"):
        with pytest.raises(der.UserError, match=r": there is no memory of the step in .+alone; give its dir"):
            der.load(tmp_path / "alone", memory, der.preset("digits"))
    (tmp_path / "model/checkpoint/head.safetensors").unlink()
    with pytest.raises(der.UserError, match=r"head\.safetensors"):
        der.load(tmp_path / "model")


def own_selection(features: Any, exemplars: int, settings: Any, label: int) -> Any:
    return np.arange(len(features))[:exemplars]


def test_code_in_a_file_runs_only_if_it_was_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_storage.py").write_text(
        "from tests.estimator.test_learning import own_selection\n"
        "from der.model.backbones import cifar_resnet as backbone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = taught((1, 2), memory__selection="own_storage:own_selection")
    model.save(tmp_path / "selection")
    taught((1, 2), network__backbone="own_storage:backbone").save(tmp_path / "backbone")
    monkeypatch.delitem(sys.modules, "own_storage")
    for name, key in (("selection", "memory.selection"), ("backbone", "network.backbone")):
        with pytest.raises(der.UserError, match=f"{key}: 'own_storage:.*import own_storage first"):
            der.load(tmp_path / name)
    assert "own_storage" not in sys.modules
    importlib.import_module("own_storage")
    assert state_of(der.load(tmp_path / "selection", device="cpu")) == state_of(model)
    der.load(tmp_path / "backbone")
