"""docs/extending.md: every example runs in the library, and does what it says."""

import re
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace

import der
from der.data.sources.registry import read_source
from der.estimator.choices import CHOICES
from der.model.architecture import normalize_features
from der.model.network import build_extractor, run_network
from der.train.step import find_rebalancing
from tests.builders import CPU, NORMALIZATION, random_network, step_run, train_settings, training_images
from tests.data.sources.image_trees import settings_for
from tests.estimator.tiny import noise, tiny_classifier
from tests.examples.programs import PAGE, modules, write_modules
from tests.locations import ROOT


@pytest.fixture(autouse=True)
def on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_modules(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_there_is_one_of_each_short_and_formatted_and_linted_as_our_code_is(tmp_path: Path) -> None:
    assert list(modules()) == ["npz_file.py", "plain_convnet.py", "bias_correction.py", "nearest_to_mean.py"]
    assert [name for name, text in modules().items() if len(text.splitlines()) > 30] == []
    for words in (["format", "--check"], ["check"]):
        line = ["ruff", *words, "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_that_names_a_function_and_its_type_are_listed() -> None:
    row = r"^\| `([\w.]+)` \| `(\w+)` in `src/([\w/]+)\.py` \| (.+) \|$"
    rows = re.findall(row, PAGE.read_text(), re.MULTILINE)
    assert [key for key, *_ in rows] == list(CHOICES)
    for key, name, place, ours in rows:
        assert ours.replace("\\<name\\>", "").partition(", and")[0] == ", ".join(CHOICES[key].registry), key
        module = import_module(place.replace("/", "."))
        described = getattr(module, name)
        assert described.__doc__ and described.__doc__.count("\n") > 2, key


def test_a_source(tmp_path: Path) -> None:
    images, labels = noise("b", "a", "c")
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    settings = replace(settings_for(tmp_path / "mine.npz", channels=1), source="npz_file:npz")
    found = {one.name: one for one in read_source(settings, tmp_path / "scratch")}
    assert list(found) == ["a", "b", "c"]
    for name, one in found.items():
        assert one.train.shape[1:] == one.test.shape[1:] == (8, 8, 1) and len(one.test) == 2
        both = np.concatenate([one.train, one.test])[..., 0]
        expected = images[labels == name]
        assert sorted(map(bytes, both)) == sorted(map(bytes, expected))


def test_a_backbone(tmp_path: Path) -> None:
    name = "plain_convnet:convnet"
    model = tiny_classifier(network__backbone=name).partial_fit(*noise(0, 1)).partial_fit(*noise(2, 3))
    model.save(tmp_path / "model")
    loaded = der.load(tmp_path / "model")
    images, _ = noise(0, 1, 2, 3)
    assert np.array_equal(loaded.predict_proba(images), model.predict_proba(images))
    extractor = build_extractor(model.settings_.network, 1)
    shapes = [tuple(values.shape[:2]) for values in extractor.parameters() if values.dim() == 4]
    assert shapes == [(16, 1), (16, 16), (16, 16), (32, 16), (32, 32), (64, 32), (64, 64)]


def test_a_rebalancing() -> None:
    network, images = random_network([2, 2]), training_images(1, [4, 4, 9, 9])
    with torch.no_grad():
        network.head.weight[2:] *= 6  # the bias towards new classes that it is to undo
    before = run_network(network, NORMALIZATION, images.pixels.read(np.arange(26)), CPU).logits
    run = step_run(2, train_settings())
    find_rebalancing("bias_correction:correct_bias")(run, network, images)
    after = run_network(network, NORMALIZATION, images.pixels.read(np.arange(26)), CPU).logits
    assert np.array_equal(after[:, :2], before[:, :2])
    # The new logits lie on one line over what they were, which balanced classes gain from.
    slope, shift = np.polyfit(before[:, 2:].ravel(), after[:, 2:].ravel(), 1)
    np.testing.assert_allclose(after[:, 2:], slope * before[:, 2:] + shift, atol=1e-4)
    weight = torch.tensor([1 / 4, 1 / 4, 1 / 9, 1 / 9])
    labels = torch.from_numpy(images.labels)
    losses = [float(F.cross_entropy(torch.from_numpy(logits), labels, weight)) for logits in (before, after)]
    assert losses[1] < losses[0] - 0.1 and 0 < slope < 1


def test_a_selection(tmp_path: Path) -> None:
    model = tiny_classifier(memory__selection="nearest_to_mean:nearest_to_mean", memory__budget=4)
    model.partial_fit(*noise(0, 1)).save(tmp_path / "model")
    images, labels = noise(0, 1)
    kept = np.load(tmp_path / "model/memory/images.npy")
    learned = model._learned
    assert learned is not None
    network, normalization = learned.checkpoint.network, learned.checkpoint.metadata.normalization
    for label in (0, 1):
        of_class = images[labels == label][..., None]
        units = normalize_features(run_network(network, normalization, of_class, CPU).features)
        far = ((units - units.mean(axis=0)) ** 2).sum(axis=1)
        assert np.array_equal(kept[2 * label : 2 * label + 2], of_class[np.argsort(far)[:2]])
