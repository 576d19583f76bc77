"""The page of a finished run: what it reads, and when it refuses."""

import re
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from der.core.errors import UserError
from der.core.files import seal, sealed_directory, write_json
from der.data.arrays import Memory, save_memory
from der.evaluation.results import write_confusion, write_mistakes, write_predictions
from der.model.checkpoint import save_empty_checkpoint
from der.pipeline.page import make_page, read_run
from der.pipeline.presets import PRESETS, load_settings
from der.pipeline.project import mark_unused, write_chain
from der.pipeline.runs import NO_END, NO_PAGE, OTHER_PAGE, PAGE, show_results
from der.report.page import FinishedRun
from der.settings.sections import to_values
from der.train.log import write_log
from tests.locations import ROOT
from tests.report.report_runs import ODD_NAMES, make_run

RUN = make_run([4, 2], ODD_NAMES, channels=3)


def trained_steps(run: FinishedRun) -> list[list[str]]:
    """The names of the classes that each step brought."""
    ends = [step["classes"] for step in run.steps]
    return [run.names[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def set_parameter(root: Path, section: str, values: dict[str, Any]) -> None:
    """Change keys of a section of params.yaml."""
    path = root / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content[section] |= values
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def write_run(root: Path, run: FinishedRun) -> None:
    """What the stages before would have left."""
    last = len(run.steps)
    for name in ("params.yaml", "dvc.yaml", "results/published.json"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / PRESETS, root / PRESETS)
    with chdir(root):
        write_chain(last + 1)
    steps = trained_steps(run)
    sizes = {"first_classes": len(steps[0]), "later_classes": len(steps[1])}
    set_parameter(root, "protocol", {"class_order": run.names, **sizes})
    settings = load_settings(root / "params.yaml")
    metadata = {
        "network": to_values(settings.network),
        "recipes": [to_values(settings.train.recipe(step)) for step in range(1, last + 1)],
        "steps": steps,
    }
    save_empty_checkpoint(root / "data/checkpoints/0")
    with sealed_directory(root / f"data/checkpoints/{last}") as directory:
        write_json(directory / "network.json", metadata)
    for index, step in enumerate(run.steps):
        write_evaluation(root / f"metrics/steps/{step['step']}", run, index)
        write_log(root / f"metrics/training/{step['step']}", run.logs[index])
        save_memory(root / f"data/memory/{step['step']}", memory_of(run, step["classes"]))
    mark_unused("evaluate", last + 1, root / f"metrics/steps/{last + 1}")
    write_json(root / "metrics/summary.json", run.summary)
    for split in ("train", "test"):
        with sealed_directory(root / "data/raw" / split) as directory:
            write_json(directory / "file.json", {})


def write_evaluation(path: Path, run: FinishedRun, index: int) -> None:
    """What is left of a step's evaluation; what is predicted is known of the last alone."""
    counts = run.confusions[index]
    with sealed_directory(path) as directory:
        write_json(directory / "metrics.json", run.steps[index])
        write_confusion(directory, counts, run.names[: len(counts)])
        write_predictions(directory, run.predictions)
        write_mistakes(directory, run.mistakes[index])


def memory_of(run: FinishedRun, classes: int) -> Memory:
    """The exemplars of the first classes."""
    memory = run.memory
    seen = np.flatnonzero(memory.labels < classes)
    return Memory(memory.images.pick(seen), memory.labels[seen], memory.class_means[:classes])


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which all stages but the last have run."""
    write_run(tmp_path, RUN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stage_reads_the_run_that_was_written(finished: Path) -> None:
    read = read_run(load_settings())
    run = RUN
    assert (read.summary, read.steps, read.names) == (run.summary, run.steps, run.names)
    assert read.logs == run.logs
    for read_one, one in zip(read.confusions, run.confusions, strict=True):
        np.testing.assert_array_equal(read_one, one)
    for read_step, step in zip(read.mistakes, run.mistakes, strict=True):
        assert read_step.entries == step.entries
    np.testing.assert_array_equal(read.predictions.predicted, run.predictions.predicted)
    np.testing.assert_array_equal(read.memory.images.copy(), run.memory.images.copy())
    assert [counts.tolist() for counts in read.exemplars] == [[2] * 4, [2] * 6]
    assert (read.seed, read.source) == (0, "digits") and read.joint is None
    assert [one.name for one in read.references] == ["chance", "nearest mean"]
    assert len(read.stages) == 3 + 3 * 2 + 1 and read.times == {}  # of the chain's third step nothing
    assert {key for key, *_ in read.differences} == {"protocol.class_order"}
    assert make_page(load_settings()).startswith("report: metrics/report.html, ")
    page = (finished / "metrics/report.html").read_text(encoding="utf-8")
    places = yaml.safe_load((finished / "params.yaml").read_text(encoding="utf-8"))["dataset"]
    assert re.search(r"<th[^>]*>group_labels</th><td>10</td>", page)
    for place in ("path", "downloads"):
        assert not re.search(rf"<th[^>]*>{place}</th>", page) and f">{places[place]}<" not in page


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("metrics/steps/1", None, "no metrics; run `dvc repro`$"),
        ("metrics/steps/2/metrics.json", "{}", "no metrics of a step; run the step's evaluation again"),
        ("metrics/summary.json", None, "cannot be read as JSON"),
        ("metrics/summary.json", "{}", "not of the steps in metrics/steps"),
        ("metrics/training/1/log.csv", None, "cannot be read"),
        ("metrics/steps/2/mistakes.json", "", "cannot be read as JSON"),
        ("data/memory/2/images.npy", "x", r"cannot be read as a \.npy array"),
        ("data/checkpoints/2/network.json", "", "cannot be read as JSON"),
        ("results/published.json", None, "cannot be read as JSON"),
    ],
)
def test_missing_or_damaged_input_leaves_no_page(
    path: str, content: str | None, message: str, finished: Path
) -> None:
    (finished / path).rename(finished / "away")
    if content is not None:
        (finished / path).write_text(content)
        seal((finished / path).parent, {})
    with pytest.raises(UserError, match=rf"^{re.escape(path)}: {message}"):
        make_page(load_settings())
    assert not list((finished / "metrics").glob("report*"))


@pytest.mark.parametrize(
    ("section", "values"),
    [("network", {"depth": 20}), ("train", {"seed": 7}), ("protocol", {"class_order": "alphabetical"})],
)
def test_no_page_of_parameters_that_the_run_was_not_trained_with(
    section: str, values: dict[str, Any], finished: Path
) -> None:
    set_parameter(finished, section, values)
    sentence = "trained with other parameters than params.yaml has; run `dvc repro` first"
    with pytest.raises(UserError, match=rf"^data/checkpoints/2/network\.json: {sentence}$"):
        make_page(load_settings())
    assert not list((finished / "metrics").glob("report*"))


def test_a_memory_of_other_classes_leaves_no_page(finished: Path) -> None:
    shutil.rmtree(finished / "data/memory/2")
    save_memory(finished / "data/memory/2", memory_of(RUN, 4))
    with pytest.raises(UserError, match=r"^data/memory/2: of 4 classes, but step 2 has 6; run `dvc repro`$"):
        make_page(load_settings())


def test_the_page_is_told_from_that_of_other_results(finished: Path) -> None:
    assert NO_PAGE in show_results()
    make_page(load_settings())
    assert PAGE in show_results()
    for path in ("metrics/summary.json", "metrics/steps/1/manifest.json", "metrics/training/2/manifest.json"):
        content = (finished / path).read_text(encoding="utf-8")
        (finished / path).write_text(content.replace("{", "{ ", 1), encoding="utf-8")  # of another run
        assert OTHER_PAGE in show_results() and PAGE not in show_results()
        (finished / path).write_text(content, encoding="utf-8")
        assert PAGE in show_results()
    Path("metrics/report.html").write_text("<!DOCTYPE html>", encoding="utf-8")  # of an earlier revision
    assert OTHER_PAGE in show_results()
    shutil.rmtree("metrics/training/2")  # as DVC does when it trains a step
    Path("metrics/report.html").unlink()
    assert NO_PAGE in show_results()  # a clone has neither
    Path("data/fingerprints").mkdir()  # something runs here
    assert NO_END in show_results()
