"""examples/quickstart.ipynb and examples/arrays.py run; the outputs of the first are on record."""

import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import der
from tests.estimator.tiny import noise
from tests.examples.programs import load_program
from tests.locations import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client


def outputs(notebook: Any) -> list[list[Any]]:
    """What every cell of code left."""
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def said(notebook: Any) -> str:
    """All text among it; pictures and tables by what they are."""
    return "\n".join(str(one.get("text") or one["data"]) for left in outputs(notebook) for one in left)


def accuracies(notebook: Any) -> list[float]:
    return [float(one) for one in re.findall(r"([\d.]+) % of all test images", said(notebook))]


def test_its_cells_run_and_the_record_is_of_one_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cells in this process, with an epoch for each phase."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    recorded = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in recorded.cells if cell.cell_type == "code"]
    program = "\n".join(cell.source for cell in cells)
    assert program.count('epochs": 10') == program.count("[5, 8]") == 1
    exec(program.replace('epochs": 10', 'epochs": 1').replace("[5, 8]", "[]"), {})
    assert capsys.readouterr().out.rstrip().endswith("DERClassifier(learned 10 classes) True")
    nbformat.validate(recorded)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert said(recorded).count("image/png") == 2
    assert len(accuracies(recorded)) == 4 and min(accuracies(recorded)) > 95  # percent
    assert not re.search(r"/(home|work|tmp|root|Users)/", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.torture
def test_it_runs_to_the_outputs_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    recorded, again = (nbformat.read(NOTEBOOK, as_version=4) for _ in range(2))
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        again, timeout=600, coalesce_streams=True, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert [len(left) for left in outputs(again)] == [len(left) for left in outputs(recorded)]
    assert said(again).count("image/png") == 2
    # To rounding, which processors do differently: an image or two.
    assert accuracies(again) == pytest.approx(accuracies(recorded), abs=3)
    assert said(again).rstrip().endswith("DERClassifier(learned 10 classes) True")


@pytest.mark.parametrize("of_a_file", [False, True])
def test_arrays(
    of_a_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    images, labels = noise(7, 5, 3)
    np.savez("mine.npz", images=images, labels=labels)
    monkeypatch.setattr("sys.argv", ["arrays.py", *(["mine.npz", "--epochs", "1"] if of_a_file else [])])
    load_program("arrays.py").main()
    printed = capsys.readouterr().out
    taught = re.findall(r"new classes: (.*)", printed)
    assert taught == (["3, 5", "7"] if of_a_file else ["across, down", "falling, rising"])
    classes = [3, 5, 7] if of_a_file else ["across", "down", "falling", "rising"]
    assert der.load("model").classes_.tolist() == classes
    assert printed.count("representation, epoch ") == (2 if of_a_file else 8)
    if not of_a_file:
        accuracies = re.findall(r"  accuracy on \d+ classes: ([\d.]+) %", printed)
        assert len(accuracies) == 2 and min(map(float, accuracies)) > 60
