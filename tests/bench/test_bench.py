"""The bench: that its contenders compute the same, its count of bytes, and what it writes."""

import json
import platform
import re
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from bench.__main__ import TOGETHER
from bench.cases import Case, list_cases, load_noise, prepare
from bench.engine_loop import EngineLoop
from bench.engine_predicting import EnginePrediction, write_pictures
from bench.measure import Measured
from bench.plain import PlainLoop
from bench.plain_predicting import PlainPrediction
from bench.results_file import RESULTS, describe_machine, round_figures, write_results
from bench.table import format_summary
from bench.traffic import Volume, epoch_bytes
from der.model.network import run_network
from tests.builders import CPU, NO_AUGMENTATION

CASE = Case(
    name="tiny",
    load=partial(load_noise, 5, 9, side=8),
    new_classes=(3, 2),
    memory=12,
    augmentation=NO_AUGMENTATION,
    batch_size=8,
    repetitions=1,
    depth=8,
)
ROW = Measured(
    case="tiny",
    step=1,
    contender="plain",
    batch_size=8,
    images=27,
    epochs=1,
    seconds_per_epoch=1 / 3,
    images_per_second=81.0,
    times_plain=1.0,
    peak_memory_mb=123.456789,
    step_ms=None,
    bandwidth_share=0.0123456,
    arithmetic_share=0.03456,
)


@pytest.mark.parametrize("frozen", [0, 1])
def test_plain_loop_and_engine_train_alike(frozen: int) -> None:
    plain = PlainLoop(CASE, prepare(CASE, frozen), CPU, workers=0)
    engine = EngineLoop(CASE, prepare(CASE, frozen), CPU, "float32")
    # Rounding differs (folded normalisation, memory format) and grows from step to step.
    for epoch, tolerance in enumerate((1e-4, 2e-3)):
        assert plain.run_epoch(epoch) == pytest.approx(engine.run_epoch(epoch), abs=tolerance)
    engine.release()


def test_bytes_of_an_epoch_counted_by_hand() -> None:
    # One layer from 3 to 5 values with 7 parameters; 10 images make 3 batches of at most 4.
    forward, backward = 3 + 5, 5 + 5 + 3
    volume = Volume(first=3, inputs=3, outputs=5)
    weights = 2 + 2 + 4 * (2 + 2 + 2)
    expected = 10 * 2 * (forward + backward) + 3 * 7 * weights
    assert epoch_bytes(volume, parameters=7, frozen=0, images=10, batch=4, width=2) == expected
    expected += 10 * 2 * 2 * forward
    assert epoch_bytes(volume, parameters=7, frozen=2, images=10, batch=4, width=2) == expected


@pytest.fixture
def prediction(tmp_path: Path) -> Case:
    write_pictures(prepare(CASE, 1).images, tmp_path)
    return replace(CASE, task="predict", directory=tmp_path)


def test_plain_and_engine_predict_alike(prediction: Case) -> None:
    start = prepare(CASE, 1)
    plain = PlainPrediction(prediction, start, CPU, workers=0).run_epoch(0)
    images_NHWC = start.images.pixels.copy()
    logits = run_network(start.network, start.normalization, images_NHWC, CPU).logits
    best = torch.from_numpy(logits).softmax(dim=1).max(dim=1).values.mean().item()
    assert plain == pytest.approx(best, abs=1e-5)
    assert EnginePrediction(prediction, start, CPU, "float32").run_epoch(0) == pytest.approx(best, abs=1e-5)


def test_results_are_sorted_rounded_and_name_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((platform, "node"), (socket, "gethostname")):
        monkeypatch.setattr(module, name, lambda: "secret-host")
    machine = describe_machine(CPU)
    path = write_results(tmp_path, machine, [round_figures(ROW)], 12.3456789e9)
    assert path == tmp_path / f"{machine.slug}.json"
    text = path.read_text(encoding="utf-8")
    report = json.loads(text)
    assert text == json.dumps(report, indent=2, sort_keys=True) + "\n"
    assert report["bandwidth_gb_per_second"] == 12.35
    (row,) = report["measured"]
    assert (row["seconds_per_epoch"], row["peak_memory_mb"], row["step_ms"]) == (0.3333, 123.5, None)
    assert "secret-host" not in text + path.name
    assert str(Path.cwd()) not in text and str(Path.home()) + "/" not in text


def test_the_page_quotes_the_results() -> None:
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    for path in sorted(RESULTS.glob("*.json")):
        rows = [Measured(**row) for row in json.loads(path.read_text(encoding="utf-8"))["measured"]]
        assert format_summary(rows) in page, f"{RESULTS}/README.md does not quote {path}"


def test_the_page_names_cases_that_there_are() -> None:
    named = re.findall(r'--case "(.+)"', Path("docs/speed.md").read_text(encoding="utf-8"))
    assert named and {*named} <= {TOGETHER, *(case.name for case in list_cases(CPU, quick=False))}
