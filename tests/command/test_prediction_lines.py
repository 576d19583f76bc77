"""Predictions as lines that no name can break."""

from pathlib import Path

import pytest

from der.command.prediction_lines import start_csv, start_table
from der.deployment.prediction import Prediction


def test_the_names_of_classes_cannot_break_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_line = start_table([Path("a"), Path("b\r")], ["x\ny", "z"], 1)
    print_line("b\r", [Prediction("x\ny", 0.5)])
    print_line("a", [Prediction("z", 0.25)])
    assert capsys.readouterr().out.splitlines()[1:] == ["b\\r      x\\ny  50.00 %", "a        z     25.00 %"]


def test_no_name_in_csv_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    print_line = start_csv(1)
    print_line("@SUM(A1).png", [Prediction("=1+1", 0.5)])
    print_line("'a'.png", [Prediction("-1", 0.25)])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "'@SUM(A1).png,'=1+1,0.500000",
        "''a'.png,'-1,0.250000",
    ]
