"""examples/arrays.py: a script that learns arrays of one's own."""

import re
from pathlib import Path

import numpy as np
import pytest

import der
from tests.estimator.tiny import noise
from tests.examples.programs import load_program

LINE = r"  accuracy on (\d+) classes: ([\d.]+) %"


def run(*words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("DER_DEVICE", "cpu")
    monkeypatch.setattr("sys.argv", ["arrays.py", *words])
    load_program("arrays.py").main()
    return capsys.readouterr().out


def test_stripes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run(monkeypatch=monkeypatch, capsys=capsys)
    assert re.findall(r"new classes: (.*)", printed) == ["across, down", "falling, rising"]
    assert printed.count("representation, epoch ") == 8
    learned = [(int(classes), float(accuracy)) for classes, accuracy in re.findall(LINE, printed)]
    assert [classes for classes, _ in learned] == [2, 4] and min(accuracy for _, accuracy in learned) > 60
    assert der.load(tmp_path / "model").classes_.tolist() == ["across", "down", "falling", "rising"]


def test_arrays_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = noise(7, 5, 3)
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    words = [str(tmp_path / "mine.npz"), "--epochs", "1", "--save", str(tmp_path / "own")]
    printed = run(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert re.findall(r"new classes: (.*)", printed) == ["3, 5", "7"]
    assert der.load(tmp_path / "own").classes_.tolist() == [3, 5, 7]
