"""Predictions as lines that no name can break."""

from pathlib import Path

import pytest

from der.cli.prediction_lines import start_csv, start_table
from der.inference.predictor import Prediction


def test_the_names_of_classes_cannot_break_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_line = start_table([Path("a"), Path("b\r")], ["x\ny", "z"], 1)
    print_line("b\r", [Prediction("x\ny", 0.5)])
    print_line("a", [Prediction("z", 0.25)])
    assert capsys.readouterr().out.splitlines()[1:] == ["b\\r      x\\ny  50.00 %", "a        z     25.00 %"]


def test_columns_stand_below_each_other_whatever_the_letters(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["katze", "猫", "🐈", "cafe\u0301"]  # of five, two, two and four columns
    print_line = start_table([Path("猫.png"), Path("cat.png")], names, 1)
    for name in names:
        print_line("猫.png", [Prediction(name, 0.5)])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "猫.png   katze  50.00 %",
        "猫.png   猫     50.00 %",
        "猫.png   🐈     50.00 %",
        "猫.png   cafe\u0301   50.00 %",
    ]


def test_no_name_in_csv_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    print_line = start_csv(1)
    print_line("@SUM(A1).png", [Prediction("=1+1", 0.5)])
    print_line("'a'.png", [Prediction("-1", 0.25)])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "'@SUM(A1).png,'=1+1,0.500000",
        "''a'.png,'-1,0.250000",
    ]
