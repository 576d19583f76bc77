"""Records of runs: whose parameters, steps and images are a preset's."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.core.cost import Spent
from der.core.errors import UserError
from der.core.files import read_json, write_json
from der.data.protocol import identify
from der.data.sources.registry import download
from der.evaluation.results import METRICS
from der.pipeline.inputs import IDENTITIES, find_expected
from der.pipeline.presets import PRESETS, load_preset, load_settings
from der.pipeline.project import RAW, SUMMARY, compression
from der.pipeline.timing import keep_time
from der.settings.sections import to_values
from der.summary.series import summarise
from tests.locations import ROOT
from tests.tools.finished_run import finish, metrics_of, put_json, write_raw
from tools.results.record import LOCK, record_run

GIT = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.org"]
RECORD = Path("results/digits-alphabetical-seed0.json")
CLASSES = (4, 6, 8, 10)  # seen after each step

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with a finished run of the digits, whose images are those that are known."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("params.yaml", "chain.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, home / name)
    shutil.copytree(ROOT / PRESETS, home / PRESETS)
    monkeypatch.chdir(home)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    monkeypatch.setenv("DER_SCRATCH", str(tmp_path / "scratch"))
    write_raw()
    dataset = to_values(load_settings().dataset)
    known = {key: dataset[key] for key in ("source", "image_side", "channels")}
    write_json(IDENTITIES, [{"dataset": known, "sha256": identify(RAW).sha256}])
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*GIT, *words], check=True)
    finish(*CLASSES)
    return home


def set_value(section: str, key: str, value: Any) -> None:
    content = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    old = content[section][key]
    content[section][key] = old | value if isinstance(value, dict) else value
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def refuse(message: str) -> None:
    with pytest.raises(UserError, match=rf"^{re.escape(message)}"):
        record_run("digits")
    assert not Path("results").exists()


def test_a_record() -> None:
    set_value("dataset", "downloads", "/elsewhere")
    said = record_run("digits")
    assert said.startswith(f"{RECORD}: average top-1 87.50 %, last 86.00 %; no seconds of stages, which are")
    keep_time("evaluate@2", Spent(20.0, 1))
    put_json(compression(3) / METRICS, {"compressed": metrics_of(1, 8)})
    assert record_run("digits") == f"{RECORD}: average top-1 87.50 %, last 86.00 %"
    written = read_json(RECORD)
    machine = written.pop("machine")
    assert sorted(machine) == ["device", "torch"] and machine["device"].endswith(" (cpu)")
    steps = [metrics_of(step, count) for step, count in enumerate(CLASSES, start=1)]
    metrics: Any = summarise(steps)
    for row, step in zip(metrics["steps"].values(), steps, strict=True):
        row["per_step"] = step["per_step"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert written == {
        "preset": "digits",
        "seed": 0,
        "class_order": "alphabetical",
        "revision": head.stdout.strip(),  # params.yaml differs from it, but is the preset's
        "images": {"sha256": identify(RAW).sha256, "classes": 10, "train": 20, "test": 20},
        "seconds": {"evaluate@2": 20.0},
        "metrics": metrics,
        "compressed": {"3": {"top1": 89.0, "top5": 99.0, "nme_top1": 89.0, "parameters": 1000}},
    }


def test_another_seed_and_another_order_are_runs_of_the_preset() -> None:
    set_value("train", "seed", 7)
    set_value("compress", "steps", "last")
    for order, name in ((5, "random5"), ([5, 6], "random-list5-6"), ([*"1023456789"], None)):
        set_value("protocol", "class_order", order)
        finish(*CLASSES)
        if name is not None:
            assert record_run("digits").startswith(f"results/digits-{name}-seed7.json: ")
    shutil.rmtree("results")
    refuse("params.yaml: protocol.class_order is no list of src/der/presets/class_orders; add it there")


def test_a_run_is_known_by_its_images() -> None:
    for key, value in (("source", "folder"), ("path", "/elsewhere"), ("test_fraction", 0.5), ("seed", 9)):
        set_value("dataset", key, value)
    record_run("digits")
    shutil.rmtree("results")
    for change, found in (({"pixel": 1}, "20"), ({"images": 1}, "19")):
        write_raw(**change)
        refuse(f"data/raw: not the images of preset digits, digits's, but {found} training and ")
    IDENTITIES.write_text("[]", encoding="utf-8")
    refuse(
        "params.yaml: not preset digits, which changes dataset.source: folder -> digits, and src/der/presets"
    )
    set_value("dataset", "source", "digits")
    refuse("params.yaml: not preset digits, which changes dataset.test_fraction: 0.5 -> 0.2; run `der preset")


def test_the_digits_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    download(load_settings().dataset, tmp_path / "digits")
    expected = find_expected(load_preset("digits"))
    assert expected is not None and expected["sha256"] == identify(tmp_path / "digits").sha256


def test_a_run_that_was_trained_otherwise() -> None:
    set_value("network", "depth", 20)
    finish(*CLASSES)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    refuse("data/checkpoints/4/network.json: trained with other parameters than params.yaml has")


def test_a_run_of_other_parameters_or_steps() -> None:
    ran = {"params": {"params.yaml": {"memory": {"selection": "random"}}}, "outs": []}
    LOCK.write_text(yaml.safe_dump({"stages": {"build_memory@1": ran}}), encoding="utf-8")
    refuse("dvc.lock: build_memory@1 ran with other parameters than params.yaml has, memory.")
    set_value("memory", "budget", 100)
    refuse("params.yaml: not preset digits, which changes memory.budget: 100 -> 200; run `der preset digits`")
    set_value("memory", "budget", 200)
    finish(4, 6)
    refuse("metrics/summary.json: of [4, 6] classes over the steps, not [4, 6, 8, 10]; run `dvc repro`")
    write_json(SUMMARY, summarise([metrics_of(1, 4)]))
    refuse("metrics/summary.json: not of the steps in metrics/steps; run `dvc repro` first")
