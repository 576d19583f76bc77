"""The files of a summary: complete, the same on every run, or none."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from der.core.errors import DamageError, UserError
from der.core.sealed import seal, sealed_directory
from der.evaluation.metrics import StepMetrics, write_confusion
from der.summary.write_summary import write_summary
from tests.summary.step_metrics import make_steps

PLOTS = ["accuracy.png", "accuracy_matrix.png", "confusion.png", "training.png"]
TABLES = ["accuracy.csv", "accuracy_matrix.csv", "training.csv"]
LOG_HEAD = "phase,epoch,learning_rate,loss,auxiliary_loss,accuracy\n"


def write_inputs(folder: Path, sizes: list[int], names: list[str], epochs: int = 3) -> list[StepMetrics]:
    """Write the last evaluation and the training logs 1, 2, ...; return the metrics of the steps."""
    rng = np.random.default_rng(0)
    put_confusion(folder, rng.integers(0, 9, (len(names), len(names))), names)
    for k in range(1, len(sizes) + 1):
        auxiliary = "" if k == 1 else "0.5"
        rows = [
            f"representation,{e},0.1,{3.3 / 10 ** (e + k):.17g},{auxiliary},{50 + e}\n"
            for e in range(1, epochs + 1)
        ]
        (folder / str(k)).mkdir()
        (folder / str(k) / "log.csv").write_text(LOG_HEAD + "".join(rows))
        seal(folder / str(k), {})
    matrix = [rng.uniform(0, 100, size=k).round(4).tolist() for k in range(1, len(sizes) + 1)]
    return make_steps(matrix, sizes)


def put_confusion(folder: Path, counts: NDArray[np.int64], names: list[str]) -> None:
    with sealed_directory(folder / "last") as directory:
        write_confusion(directory, counts, names)


def summarise_folder(folder: Path, steps: list[StepMetrics], plots: Path) -> None:
    logs = [folder / str(k) for k in range(1, len(steps) + 1)]
    write_summary(steps, folder / "last", logs, folder / "summary.json", plots)


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ([2], ["Café $\\no-formula$", "猫, \"odd\" and a very long name 'indeed'"]),
        ([4, 2], list("012345")),
        ([20] * 5, [f"class {i}" for i in range(100)]),
        ([1] * 24, [f"class {i}" for i in range(24)]),
    ],
    ids=["joint", "two steps", "100 classes", "24 steps"],
)
def test_files_are_complete_and_repeat_byte_for_byte(
    sizes: list[int], names: list[str], tmp_path: Path
) -> None:
    steps = write_inputs(tmp_path, sizes, names)
    summarise_folder(tmp_path, steps, tmp_path / "first")
    summary = (tmp_path / "summary.json").read_bytes()
    # A user's own matplotlib settings must not matter.
    with matplotlib.rc_context({"font.size": 30, "axes.labelsize": 30, "axes.facecolor": "red"}):
        summarise_folder(tmp_path, steps, tmp_path / "second")
        assert matplotlib.rcParams["font.size"] == 30
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == sorted(PLOTS + TABLES)
    assert (tmp_path / "summary.json").read_bytes() == summary
    for name in PLOTS + TABLES:
        content = (tmp_path / "first" / name).read_bytes()
        assert content == (tmp_path / "second" / name).read_bytes()
        assert name in PLOTS or b"\r" not in content
    for name in PLOTS:
        with Image.open(tmp_path / "first" / name) as image:
            assert "Software" not in image.info
            assert len(np.unique(np.asarray(image.convert("L")))) > 2  # something is drawn


def test_tables_hold_the_series(tmp_path: Path) -> None:
    steps = write_inputs(tmp_path, [4, 2], list("012345"), epochs=2)
    summarise_folder(tmp_path, steps, tmp_path / "plots")
    accuracy = pd.read_csv(tmp_path / "plots" / "accuracy.csv")
    assert list(accuracy.columns) == ["step", "classes", "top1", "top5", "old", "new", "nme_top1"]
    assert accuracy["top1"].tolist() == [one["top1"] for one in steps]
    assert accuracy["old"].isna().tolist() == [True, False]
    matrix = pd.read_csv(tmp_path / "plots" / "accuracy_matrix.csv", index_col="after_step")
    assert matrix.loc[2, "step_1"] == steps[1]["per_step"]["1"]
    assert matrix["step_2"].isna().tolist() == [True, False]
    lines = (tmp_path / "plots" / "training.csv").read_text().splitlines()
    assert lines[0] == "step," + LOG_HEAD.strip()
    # Written as they were read, to the last digit; no empty cells, which Vega would draw as zero.
    assert lines[1] == f"1,representation,1,0.1,{3.3 / 10**2!r},NaN,51.0"
    assert lines[3] == f"2,representation,1,0.1,{3.3 / 10**3!r},0.5,51.0"
    assert len(lines) == 5


def test_summary_file_keeps_what_does_not_exist_as_null(tmp_path: Path) -> None:
    steps = write_inputs(tmp_path, [2], ["a", "b"])
    summarise_folder(tmp_path, steps, tmp_path / "plots")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["forgetting"] is None
    assert summary["steps"]["1"]["old"] is summary["steps"]["1"]["gamma"] is None


def test_a_damaged_log_leaves_nothing(tmp_path: Path) -> None:
    steps = write_inputs(tmp_path, [2, 2], list("abcd"))
    (tmp_path / "2/log.csv").unlink()
    with pytest.raises(DamageError, match=r"2/log\.csv: cannot be read"):
        summarise_folder(tmp_path, steps, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
    assert not (tmp_path / "summary.json").exists()


def test_confusion_of_other_classes_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    steps = write_inputs(tmp_path, [2, 2], list("abcd"))
    put_confusion(tmp_path, np.eye(3, dtype=np.int64), list("abc"))
    with pytest.raises(
        UserError, match=r"confusion\.csv: of 3 classes, but step 2 has 4; run the step's evaluation again$"
    ):
        summarise_folder(tmp_path, steps, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
    assert not (tmp_path / "summary.json").exists()
