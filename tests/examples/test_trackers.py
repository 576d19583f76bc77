"""examples/trackers write every epoch where the tracker, if it is installed, finds it again."""

import time
from pathlib import Path

import pytest

import der
from tests.estimator.tiny import noise, tiny_classifier
from tests.examples.programs import load_program


def test_mlflow_has_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="too large for the tests' environment")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    model = tiny_classifier(load_program("trackers/mlflow_tracker.py").MLflowTracker())
    with mlflow.start_run() as run:
        model.partial_fit(*noise(1, 2)).partial_fit(*noise(3))
    found = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [one.step for one in found] == [1, 2]
    assert [one.value for one in found] == pytest.approx(model.history_["loss"].tolist())


def test_weights_and_biases_keeps_each_epoch_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="too large for the tests' environment")
    monkeypatch.chdir(tmp_path)
    with wandb.init(project="der", mode="offline", dir=tmp_path) as run:
        tracker = load_program("trackers/wandb_tracker.py").WandbTracker(run)
        model = tiny_classifier(tracker, train__base__epochs=2).partial_fit(*noise(1, 2))
        assert run.summary["loss"] == model.history_["loss"].iloc[-1] and run.step == 2
    assert [*tmp_path.rglob("*.wandb")]


# Of packages that TensorBoard imports.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.slow
def test_tensorboard_has_each_epoch_once_if_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    track = load_program("trackers/tensorboard_tracker.py").TensorBoardTracker
    for done, epochs in ((0, (1, 2, 3)), (2, (3, 4))):  # killed after a state that is one epoch older
        tracker = track("train_task 2")
        tracker.on_phase("representation", 4, 10)
        if done:
            time.sleep(1)  # events are read in the order of their names, which begin with the second
            tracker.on_resume(done)
        for epoch in epochs:
            tracker.on_epoch(der.EpochRecord("representation", epoch, 0.1, 1.0 * epoch + done, 0.5, 90.0))
    events = accumulator.EventAccumulator(str(tmp_path / "runs/train_task_2/representation"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(1, 1), (2, 2), (3, 5), (4, 6)]
