"""examples/quickstart.ipynb: it runs, and its outputs are on record."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.locations import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client
ACCURACY = re.compile(r"([\d.]+) % of all test images")


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def texts(notebook: Any) -> list[list[str]]:
    """What every cell printed or showed as text."""
    return [
        [str(one.get("text") or one["data"]["text/plain"]) for one in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def pictures(notebook: Any) -> int:
    return sum(
        "image/png" in one.get("data", {}) for cell in notebook.cells for one in cell.get("outputs", [])
    )


def accuracies(notebook: Any) -> list[float]:
    return [float(one) for said in texts(notebook) for text in said for one in ACCURACY.findall(text)]


def test_its_outputs_are_whole_and_name_no_place() -> None:
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert all(
        one.output_type in ("stream", "execute_result", "display_data") for c in code for one in c.outputs
    )
    assert pictures(notebook) == 2 and len(accuracies(notebook)) == 4
    assert min(accuracies(notebook)) > 95  # percent
    assert not re.search(r"/(home|work|tmp|root|Users)/", NOTEBOOK.read_text(encoding="utf-8"))


def test_it_runs_to_the_outputs_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    recorded, again = read(), read()
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        again, timeout=600, coalesce_streams=True, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert pictures(again) == pictures(recorded)
    # To rounding, which processors do differently: an image or two.
    assert accuracies(again) == pytest.approx(accuracies(recorded), abs=3)
    assert [len(said) for said in texts(again)] == [len(said) for said in texts(recorded)]
    assert texts(again)[-1] == ["DERClassifier(learned 10 classes) True\n"]
