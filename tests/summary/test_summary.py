"""Measures over steps against hand-made tables, and the files that hold them."""

import json
from itertools import accumulate
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from der.common.errors import UserError
from der.evaluation.confusion import write_confusion
from der.evaluation.metrics import Breakdown, StepMetrics
from der.summary.heatmaps import write_cells
from der.summary.series import accuracy_matrix, forgetting, summarise
from der.summary.style import axis_names
from der.summary.text_table import results_table
from der.summary.write_summary import write_summary

PLOTS = ["accuracy.png", "accuracy_matrix.png", "confusion.png", "training.png"]
TABLES = ["accuracy.csv", "accuracy_matrix.csv", "training.csv"]
LOG_HEAD = "phase,epoch,learning_rate,loss,auxiliary_loss,accuracy\n"
EPOCH = "representation,{},0.1,0.5,0.5,50.25\n"
CUT = "lacks epochs or a part of one; train step 2 again"

# After step k (row), on the classes of step i (column).
MATRIX = [[90.0], [70.0, 80.0], [75.0, 60.0, 95.0]]


def make_breakdown(top1: float, per_step: list[float]) -> Breakdown:
    return {
        "top1": top1,
        "top5": 100.0,
        "old": None if len(per_step) == 1 else per_step[0],
        "new": per_step[-1],
        "per_step": {str(i): accuracy for i, accuracy in enumerate(per_step, start=1)},
        "per_group": {"0-9": top1},
        "per_class": {},
    }


def make_steps(matrix: list[list[float]], sizes: list[int]) -> list[StepMetrics]:
    return [
        {
            "step": k,
            "classes": classes,
            "test_images": 10 * classes,
            **make_breakdown(row[-1] - k, row),
            "nme": make_breakdown(row[-1] - 2 * k, row),
            "parameters": 463504 * k,
            "parameters_trained": 463504,
            "memory_images": 200,
            "gamma": None if k == 1 else 0.123456,
        }
        for k, (row, classes) in enumerate(zip(matrix, accumulate(sizes), strict=True), start=1)
    ]


def test_accuracy_matrix_is_lower_triangular() -> None:
    nan = np.nan
    expected = [[90, nan, nan], [70, 80, nan], [75, 60, 95]]
    np.testing.assert_array_equal(accuracy_matrix(make_steps(MATRIX, [2, 2, 2])), expected)


def test_forgetting_by_hand() -> None:
    # Step 1's classes fell from 90 to 75, step 2's from 80 to 60; the last step's do not count.
    assert forgetting(accuracy_matrix(make_steps(MATRIX, [2, 2, 2]))) == 17.5


def test_forgetting_leaves_the_last_step_out_of_the_best() -> None:
    # Accuracy rose at the last step: negative, where a maximum over all steps would give 0.
    assert forgetting(np.array([[50.0, np.nan], [60.0, 90.0]])) == -10.0


def test_forgetting_needs_two_steps() -> None:
    assert forgetting(np.array([[50.0]])) is None


def test_forgetting_matches_loops() -> None:
    rng = np.random.default_rng(3)
    count = 9
    matrix = np.where(np.tri(count, dtype=bool), rng.uniform(0, 100, (count, count)), np.nan)
    drops = []
    for i in range(count - 1):
        best = max(matrix[k, i] for k in range(i, count - 1))
        drops.append(best - matrix[count - 1, i])
    assert forgetting(matrix) == pytest.approx(sum(drops) / (count - 1), abs=5e-5)


def test_summary_by_hand() -> None:
    summary = summarise(make_steps(MATRIX, [4, 2, 2]))
    assert {key: value for key, value in summary.items() if key != "steps"} == {
        "average_top1": 86.3333,  # of 89, 78, 92
        "average_top5": 100.0,
        "last_top1": 92.0,
        "last_top5": 100.0,
        "average_nme_top1": 84.3333,  # of 88, 76, 89
        "forgetting": 17.5,
        "mean_parameters": 927008.0,
    }
    assert list(summary["steps"]) == ["1", "2", "3"]
    assert summary["steps"]["2"] == {
        "classes": 6,
        "top1": 78.0,
        "top5": 100.0,
        "old": 70.0,
        "new": 80.0,
        "nme_top1": 76.0,
        "parameters": 927008,
        "parameters_trained": 463504,
        "memory_images": 200,
        "gamma": 0.1235,
    }


def test_keys_of_steps_are_in_order_as_text_too() -> None:
    matrix = [[50.0] * (step + 1) for step in range(11)]
    summary = summarise(make_steps(matrix, [1] * 11))
    assert list(summary["steps"]) == sorted(summary["steps"])
    assert [int(key) for key in summary["steps"]] == list(range(1, 12))
    assert [line.split()[0] for line in results_table(summary).splitlines()[2:13]] == [
        str(step) for step in range(1, 12)
    ]


def test_steps_must_count_from_one() -> None:
    with pytest.raises(AssertionError):
        summarise(make_steps(MATRIX, [2, 2, 2])[1:])


def test_results_table() -> None:
    assert results_table(summarise(make_steps(MATRIX[:2], [4, 2]))).splitlines() == [
        "step  classes  top-1   top-5    old    new    NME  parameters  exemplars",
        "----  -------  -----  ------  -----  -----  -----  ----------  ---------",
        "   1        4  89.00  100.00      -  90.00  88.00     463,504        200",
        "   2        6  78.00  100.00  70.00  80.00  76.00     927,008        200",
        "----  -------  -----  ------  -----  -----  -----  ----------  ---------",
        "mean           83.50  100.00      -      -  82.00",
        "",
        "Accuracies in percent; NME is top-1 by nearest mean of exemplars.",
        "Average incremental accuracy: 83.50",
        "Last accuracy: 78.00",
        "Forgetting, in points: 20.00",
    ]


def test_axis_names_are_short_and_drawable() -> None:
    names = ["cat", "x" * 20, "a name of more than twenty letters", "猫", "two\nlines", "Cafe\u0301", "$x$"]
    assert axis_names(names) == [
        "cat",
        "x" * 20,
        "a name of …y letters",
        "label 3",
        "two lines",
        "Caf\u00e9",
        "$x$",
    ]


@pytest.mark.parametrize("scale", ["viridis", "Blues"])
def test_numbers_can_be_read_in_every_cell(scale: str) -> None:
    values = np.linspace(0, 100, 101).reshape(1, -1)
    axes = Figure().add_subplot()
    image = axes.imshow(values, cmap=scale)
    write_cells(axes, image, values, decimals=0)
    colours = image.to_rgba(values)[0, :, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    # WCAG 2's contrast, of a luminance of 0 for black, of 1 for white.
    for text, behind in zip(axes.texts, luminance, strict=True):
        contrast = {"black": (behind + 0.05) / 0.05, "white": 1.05 / (behind + 0.05)}
        assert contrast[str(text.get_color())] >= 4.5


def write_inputs(folder: Path, sizes: list[int], names: list[str], epochs: int = 3) -> list[StepMetrics]:
    """Write confusion.csv and the training logs 1.csv, ...; return the metrics of the steps."""
    rng = np.random.default_rng(0)
    write_confusion(folder / "confusion.csv", rng.integers(0, 9, (len(names), len(names))), names)
    for k in range(1, len(sizes) + 1):
        auxiliary = "" if k == 1 else "0.5"
        rows = [
            f"representation,{e},0.1,{3.3 / 10 ** (e + k):.17g},{auxiliary},{50 + e}\n"
            for e in range(1, epochs + 1)
        ]
        (folder / f"{k}.csv").write_text(LOG_HEAD + "".join(rows))
    matrix = [rng.uniform(0, 100, size=k).round(4).tolist() for k in range(1, len(sizes) + 1)]
    return make_steps(matrix, sizes)


def summarise_folder(folder: Path, steps: list[StepMetrics], plots: Path) -> None:
    logs = [folder / f"{k}.csv" for k in range(1, len(steps) + 1)]
    write_summary(steps, folder / "confusion.csv", logs, folder / "summary.json", plots)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read as a training log"),
        ("", "cannot be read as a training log"),
        ("epoch,loss\n1,0.5\n", "cannot be read as a training log"),
        (LOG_HEAD + "representation,1,0.1,much,,50\n", "cannot be read as a training log"),
        (LOG_HEAD, "holds no epoch; train step 2 again"),
        (LOG_HEAD + EPOCH.format(1).strip(), CUT),
        (LOG_HEAD + EPOCH.format(1) + EPOCH.format(2)[:-3], CUT),
        (LOG_HEAD + EPOCH.format(2), CUT),
        (LOG_HEAD + EPOCH.format(1) + EPOCH.format(3), CUT),
        (LOG_HEAD + EPOCH.format(1) + EPOCH.format(1), CUT),
        (LOG_HEAD + EPOCH.format(1).replace("representation", "classifier"), CUT),
    ],
)
def test_damaged_training_log_is_named_and_leaves_nothing(
    text: str | None, message: str, tmp_path: Path
) -> None:
    steps = write_inputs(tmp_path, [2, 2], list("abcd"))
    log = tmp_path / "2.csv"
    log.unlink()
    if text is not None:
        log.write_text(text)
    with pytest.raises(UserError, match=rf"2\.csv: {message}"):
        summarise_folder(tmp_path, steps, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
    assert not (tmp_path / "summary.json").exists()


def test_confusion_of_other_classes_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    steps = write_inputs(tmp_path, [2, 2], list("abcd"))
    write_confusion(tmp_path / "confusion.csv", np.eye(3, dtype=np.int64), list("abc"))
    with pytest.raises(UserError, match=r"confusion\.csv: of 3 classes, but step 2 has 4; run `dvc repro`$"):
        summarise_folder(tmp_path, steps, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
    assert not (tmp_path / "summary.json").exists()


def test_a_log_cut_off_between_two_epochs_is_named(tmp_path: Path) -> None:
    steps = write_inputs(tmp_path, [2, 2, 2], list("abcdef"))
    log = tmp_path / "3.csv"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"3\.csv: 2 epochs, but step 2 has 3; train the shorter step again"):
        summarise_folder(tmp_path, steps, tmp_path / "plots")
