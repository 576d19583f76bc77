"""What a classifier is given beside images and labels, and where it is called: modes, folders, threads."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import der
from tests.estimator.tiny import noise, state_of, taught, tiny_classifier
from tests.locations import ROOT


@pytest.mark.parametrize("callback", [print, der.Listener, [der.Listener()]])
def test_a_callback_that_is_no_listener_is_refused(callback: Any) -> None:
    with pytest.raises(der.UserError, match=r"^callback: give an object of a class derived"):
        tiny_classifier(callback).partial_fit(*noise(1, 2))


def test_learning_needs_no_mode_of_torch(tmp_path: Path) -> None:
    expected = taught((1, 2), (3,))
    with torch.inference_mode():
        model = taught((1, 2))
        model.save(tmp_path / "model")
        loaded = der.load(tmp_path / "model", device="cpu")
        state_of(model)
        model.partial_fit(*noise(3))
        assert not torch.is_grad_enabled()
    assert state_of(model) == state_of(loaded.partial_fit(*noise(3))) == state_of(expected)


def test_a_step_is_loaded_from_inside_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = taught(("a", "b"))
    model.save(tmp_path / "model")
    for name in ("checkpoint", "memory"):
        shutil.copytree(tmp_path / "model" / name, tmp_path / f"data/{name}s/1".replace("memorys", "memory"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for here, path in (
        ("data/checkpoints/1", "."),
        ("data/checkpoints", "1"),
        ("data/memory", "../checkpoints/1"),
    ):
        monkeypatch.chdir(tmp_path / here)
        assert state_of(der.load(path, device="cpu")) == state_of(model)


def test_arguments_that_do_not_go_with_a_saved_classifier(tmp_path: Path) -> None:
    path = tmp_path / "model"
    taught((1, 2)).save(path)
    with pytest.raises(der.UserError, match=rf"checkpoint: the checkpoint alone of .+; give {path}$"):
        der.load(path / "checkpoint")
    with pytest.raises(der.UserError, match=rf"^memory: {path} holds its own; leave the argument out$"):
        der.load(path, memory="nowhere")


@pytest.mark.parametrize(
    "changes", [{}, {"network__backbone": "tests.train.dropping:dropping", "train__base__epochs": 10}]
)
def test_threads_that_learn_at_once_learn_the_same(changes: dict[str, Any]) -> None:
    """Also where dropout draws from the generator that all threads share."""
    expected = state_of(taught((1, 2), **changes))
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda _: state_of(taught((1, 2), **changes)), range(3))]
    assert set(found) == {expected}
