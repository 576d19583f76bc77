"""Where live curves go: as the user's environment says, or nowhere."""

from pathlib import Path

import pytest

from der.core.errors import UserError
from der.pipeline import curves as module
from der.pipeline.training import curves, curves_root
from der.train.log import Listener
from der.train.progress import TensorBoard


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.delenv("DER_TENSORBOARD", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    return home


def test_nothing_is_written_unless_a_folder_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert curves_root() is None
    with curves(1, "0123456789", print) as listener:
        assert type(listener) is Listener
    assert not list(place.iterdir())


def test_every_training_has_a_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DER_TENSORBOARD", "runs")
    with curves(3, "0123456789", print) as listener:
        assert isinstance(listener, TensorBoard)
        assert listener.directory == place / "runs/step_03-01234567"


def test_an_experiment_in_a_copy_writes_to_the_project_s(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = place / ".dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DER_TENSORBOARD", "runs")
    assert curves_root() == place / "runs"
    monkeypatch.setenv("DER_TENSORBOARD", str(place / "elsewhere"))
    assert curves_root() == place / "elsewhere"


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DER_TENSORBOARD", "runs")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        curves_root()
    assert str(caught.value) == (
        "DER_TENSORBOARD: tensorboard is missing; pip install 'der-pipeline[tensorboard]', or unset "
        "DER_TENSORBOARD"
    )


def test_a_folder_that_cannot_be_made_is_one_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    monkeypatch.setenv("DER_TENSORBOARD", "file/runs")
    with pytest.raises(UserError) as caught:
        curves_root()
    assert str(caught.value) == (
        f"DER_TENSORBOARD: {place}/file/runs cannot be made (Not a directory); name another folder, or unset "
        "DER_TENSORBOARD"
    )
