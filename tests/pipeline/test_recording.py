"""Records of runs: whose parameters, steps and images are a preset's."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.cli.main import main
from der.core.errors import DamageError, UserError
from der.core.sealed import seal
from der.core.serialization import read_json, write_json
from der.core.work_clock import Spent
from der.data.protocol import identify
from der.data.sources.registry import download
from der.evaluation.metrics import METRICS, StepMetrics
from der.pipeline import recording
from der.pipeline.applying import apply_preset
from der.pipeline.inputs import IDENTITIES, find_expected
from der.pipeline.lockfile import LOCK
from der.pipeline.markers import mark_unused
from der.pipeline.paths import RAW, SUMMARY, evaluation
from der.pipeline.presets import PRESETS, load_preset
from der.pipeline.recording import record_run
from der.pipeline.settings import load_settings
from der.pipeline.timing import keep_time
from der.settings.section import to_values
from der.summary.series import summarise
from tests.locations import ROOT
from tests.pipeline.finished_run import change_array, finish, know_images, metrics_of, put_json, write_raw

GIT = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.org"]
NOTEBOOK = Path("results/notebook-random-list1993-seed0.json")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository of what records read, with digits in data/raw, as the current directory."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("params.yaml", "chain.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, home / name)
    shutil.copytree(ROOT / PRESETS, home / PRESETS)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    monkeypatch.setenv("DER_SCRATCH", str(tmp_path / "scratch"))
    (home / "src/code.py").write_text("pass\n", encoding="utf-8")
    write_raw()
    know_images("test_fraction", "seed")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*GIT, *words], check=True)
    return home


def head(directory: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def set_value(section: str, key: str, value: Any) -> None:
    content = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    old = content[section][key]
    content[section][key] = old | value if isinstance(value, dict) else value
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def refuse(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        record_run(name)
    assert str(caught.value) == message
    assert not Path("results").exists()


def run_notebook(**dataset: Any) -> None:
    """A finished run of preset notebook; the data set's images are the ones that are known."""
    apply_preset("notebook")
    write_raw()
    know_images()
    for key, value in dataset.items():
        set_value("dataset", key, value)
    finish(25, 50, 75, 100)
    subprocess.run([*GIT, "commit", "--quiet", "--all", "--message", "Known images"], check=True)


# What is kept


def test_a_record(place: Path) -> None:
    run_notebook()
    said = record_run("notebook")
    unknown = "; no seconds of stages, which are known where they ran"
    assert said == f"{NOTEBOOK}: average top-1 87.50 %, last 86.00 %{unknown}"
    written = read_json(NOTEBOOK)
    machine = written.pop("machine")
    assert sorted(machine) == ["device", "torch"] and machine["device"].endswith(" (cpu)")
    steps = [metrics_of(step, 25 * step) for step in (1, 2, 3, 4)]
    metrics: Any = summarise(steps)
    for row, step in zip(metrics["steps"].values(), steps, strict=True):
        row["per_step"] = step["per_step"]
    assert written == {
        "preset": "notebook",
        "seed": 0,
        "class_order": "random-list1993",
        "revision": head(place),  # params.yaml differs from it, but is the preset's
        "images": {"sha256": identify(RAW).sha256, "classes": 100, "train": 200, "test": 200},
        "seconds": {},
        "metrics": metrics,
    }


def test_seconds_of_the_stages_that_left_these_results(place: Path) -> None:
    finish(4, 6, 8, 10)
    for step in (1, 2):
        keep_time(f"evaluate@{step}", Spent(10.0 * step, 1))
    put_json(evaluation(5) / METRICS, {"of": "a longer protocol"})
    keep_time("evaluate@5", Spent(1.0, 1))
    put_json(evaluation(2) / METRICS, {"of": "another run"})
    keep_time("evaluate@2", Spent(99.0, 1))
    put_json(evaluation(2) / METRICS, metrics_of(2, 6))  # as DVC restores it
    mark_unused("evaluate", 5, evaluation(5))
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": EVALUATION}), encoding="utf-8")
    assert "seconds" not in record_run("digits")
    record = read_json(Path("results/digits-alphabetical-seed0.json"))
    assert record["seconds"] == {"evaluate@1": 10.0, "evaluate@2": 20.0}


EVALUATION = {"evaluate": {"foreach": "${steps}", "do": {"cmd": "...", "outs": ["metrics/steps/${key}"]}}}


def test_another_seed_and_another_order_are_runs_of_the_preset(place: Path) -> None:
    apply_preset("paper_b50_2", "podnet_3")
    set_value("train", "seed", 7)
    set_value("dataset", "downloads", "/elsewhere")
    write_raw()
    finish(50, 75, 100)
    assert record_run("paper_b50_2").startswith("results/paper_b50_2-podnet_3-seed7.json: ")


@pytest.mark.parametrize(
    ("order", "name"), [("alphabetical", "alphabetical"), (5, "random5"), ([5, 6], "random-list5-6")]
)
def test_names_of_other_orders(place: Path, order: Any, name: str) -> None:
    set_value("protocol", "class_order", order)
    finish(4, 6, 8, 10)
    assert record_run("digits").startswith(f"results/digits-{name}-seed0.json: ")


def test_code_that_is_not_committed_is_marked(place: Path) -> None:
    assert not recording.git_revision().endswith("-dirty")
    Path("src/code.py").write_text("...\n", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{40}-dirty", recording.git_revision())


def test_a_run_in_another_clone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = tmp_path / "clone"
    subprocess.run([*GIT, "clone", "--quiet", str(place), str(clone)], check=True)
    monkeypatch.chdir(clone)
    subprocess.run([*GIT, "commit", "--quiet", "--allow-empty", "--message", "An older revision"], check=True)
    write_raw()
    finish(4, 6, 8, 10)
    (clone / PRESETS / "digits.yaml").unlink()  # presets are those of the clone that keeps the record
    (clone / IDENTITIES).unlink()
    monkeypatch.chdir(place)
    main(["record", "digits", "--clone", "../clone"])
    assert capsys.readouterr().out.startswith("results/digits-alphabetical-seed0.json: ")
    assert read_json(place / "results/digits-alphabetical-seed0.json")["revision"] == f"{head(clone)}-dirty"
    assert head(clone) != head(place) and not (clone / "results").exists()
    with pytest.raises(UserError, match=r"^nowhere: there is no such directory; name the clone"):
        record_run("digits", Path("nowhere"))


# Images


@pytest.mark.parametrize(
    "dataset",
    [
        {},
        {"source": "folder", "path": "/elsewhere/images", "downloads": "/nowhere"},
        {"source": "folder", "test_fraction": 0.5, "seed": 9},  # the images have a test folder of their own
    ],
)
def test_a_run_is_known_by_its_images(place: Path, dataset: dict[str, Any]) -> None:
    run_notebook(**dataset)
    assert record_run("notebook").startswith(f"{NOTEBOOK}: ")


def reverse(images: Any) -> Any:
    return images[::-1]


def change_pixel(images: Any) -> Any:
    images[1, 2, 3, 0] ^= 1
    return images


def remove_image(images: Any) -> Any:
    return images[1:]


def test_the_order_of_files_is_nothing(place: Path) -> None:
    run_notebook(source="folder")
    for path in sorted(RAW.glob("*/*.npy")):
        change_array(path, reverse)
    assert record_run("notebook").startswith(f"{NOTEBOOK}: ")


@pytest.mark.parametrize("source", ["folder", "cifar100"])
@pytest.mark.parametrize(
    ("change", "images"),
    [(change_pixel, "200 training and 200 test images"), (remove_image, "199 training and 200 test images")],
)
def test_other_images_are_another_run(place: Path, source: str, change: Any, images: str) -> None:
    run_notebook(source=source)
    expected = identify(RAW).sha256[:12]
    change_array(RAW / "train/wolf.npy", change)
    refuse(
        "notebook",
        f"data/raw: not the images of preset notebook, cifar100's, but {images} of 100 classes with SHA-256 "
        f"{identify(RAW).sha256[:12]}..., not {expected}...; bring the data set's own, each class under its "
        "own name, and run `dvc repro`",
    )


def test_a_renamed_class_is_another_run(place: Path) -> None:
    run_notebook(source="folder")
    for split in ("train", "test"):
        (RAW / split / "wolf.npy").rename(RAW / split / "wolves.npy")
        seal(RAW / split, {})
    with pytest.raises(UserError, match=r"^data/raw: not the images of preset notebook, .* of 100 classes"):
        record_run("notebook")


def test_images_of_another_form(place: Path) -> None:
    run_notebook(source="folder", image_side=16)
    refuse(
        "notebook",
        "params.yaml: not preset notebook, which changes dataset.image_side: 16 -> 32; "
        "run `der preset notebook`, then `dvc repro`",
    )


def test_a_draw_of_test_images_that_matters(place: Path) -> None:
    set_value("dataset", "seed", 1)
    finish(4, 6, 8, 10)
    refuse(
        "digits",
        "params.yaml: not preset digits, which changes dataset.seed: 1 -> 0; "
        "run `der preset digits`, then `dvc repro`",
    )


def test_images_that_nothing_is_known_of(place: Path) -> None:
    run_notebook()
    IDENTITIES.write_text("[]", encoding="utf-8")
    change_array(RAW / "train/wolf.npy", change_pixel)
    record_run("notebook")
    assert read_json(NOTEBOOK)["images"]["sha256"] == identify(RAW).sha256
    shutil.rmtree("results")
    set_value("dataset", "source", "folder")
    refuse(
        "notebook",
        "params.yaml: dataset.source is folder, but preset notebook has cifar100, and "
        "src/der/presets/identities.json knows no images to compare with; write dataset.source: cifar100 "
        "and run `dvc repro`",
    )


def test_no_images(place: Path) -> None:
    finish(4, 6, 8, 10)
    shutil.rmtree(RAW)
    with pytest.raises(DamageError, match=r"^data/raw/train/manifest\.json: cannot be read"):
        record_run("digits")


def test_the_digits_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    download(load_settings().dataset, tmp_path)
    expected = find_expected(load_preset("digits"))
    assert expected is not None and expected.sha256 == identify(tmp_path).sha256
    assert expected.dataset == {key: to_values(load_settings().dataset)[key] for key in expected.dataset}


def test_presets_whose_images_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = {
        name: find_expected(load_preset(name)) for name in ("notebook", "paper_b50_10", "imagenet100_b0_10")
    }
    assert known["imagenet100_b0_10"] is None and known["notebook"] == known["paper_b50_10"]
    for entry in json.loads((ROOT / IDENTITIES).read_text(encoding="utf-8")):
        assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])


# Other runs


def test_params_of_another_experiment(place: Path) -> None:
    finish(4, 6, 8, 10)
    set_value("memory", "budget", 100)
    refuse(
        "digits",
        "params.yaml: not preset digits, which changes memory.budget: 100 -> 200; "
        "run `der preset digits`, then `dvc repro`",
    )


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "precision", "bfloat16"),
        ("network", "depth", 20),
        ("protocol", "class_order", 1993),
        ("train", "base", {"epochs": 41}),
        ("train", "incremental", {"epochs": 41}),
    ],
)
def test_a_run_with_other_parameters(place: Path, section: str, key: str, value: Any) -> None:
    set_value(section, key, value)
    finish(4, 6, 8, 10)
    apply_preset("digits")
    message = "trained with other parameters than params.yaml has; run `dvc repro` first"
    refuse("digits", f"data/checkpoints/4/network.json: {message}")


def test_a_memory_of_other_exemplars(place: Path) -> None:
    finish(4, 6, 8, 10)
    memory = load_settings().memory
    for selection in ("random", "herding"):
        ran = {"memory": to_values(memory) | {"selection": selection}}
        of_a_longer_chain: Any = {"memory": {}}
        stages = {
            stage: {"params": {"params.yaml": values}, "outs": []}
            for stage, values in (("build_memory@1", ran), ("build_memory@99", of_a_longer_chain))
        }
        LOCK.write_text(json.dumps({"stages": stages}) + "\n", encoding="utf-8")
        if selection == "random":
            refuse(
                "digits",
                "dvc.lock: build_memory@1 ran with other parameters than params.yaml has, memory.selection: "
                "random -> herding; run `dvc repro` first, or `dvc commit -f` after `python -m stages`",
            )
    assert record_run("digits").startswith("results/digits-alphabetical-seed0.json: ")


def test_a_summary_of_another_or_an_unfinished_run(place: Path) -> None:
    for classes in ((4, 6), (2, 4, 6, 8, 10)):
        steps: list[StepMetrics] = [metrics_of(step, count) for step, count in enumerate(classes, start=1)]
        write_json(SUMMARY, summarise(steps))
        refuse(
            "digits",
            f"metrics/summary.json: of {list(classes)} classes over the steps, but params.yaml has "
            "[4, 6, 8, 10]; run `dvc repro` first",
        )


def test_a_summary_of_other_steps(place: Path) -> None:
    finish(4, 6, 8, 10)
    put_json(evaluation(3) / METRICS, metrics_of(3, 8) | {"top1": 12.0})
    refuse("digits", "metrics/summary.json: not of the steps in metrics/steps; run `dvc repro` first")


def test_no_summary(place: Path) -> None:
    with pytest.raises(UserError, match=r"^metrics/summary\.json: cannot be read as JSON"):
        record_run("digits")


def test_an_order_without_a_name(place: Path) -> None:
    set_value("protocol", "class_order", [str(digit) for digit in range(10)])
    finish(4, 6, 8, 10)
    refuse(
        "digits",
        "params.yaml: protocol.class_order is no list of src/der/presets/class_orders; add it there, "
        "under a name",
    )


def test_outside_of_git(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(place / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    with pytest.raises(UserError, match=r"^git: no revision found; run in a clone of the repository$"):
        recording.git_revision()
