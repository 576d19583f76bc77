"""examples/arrays.py runs, with a file of one's own and without."""

import re
from pathlib import Path

import numpy as np
import pytest

import der
from tests.estimator.tiny import noise
from tests.examples.programs import load_program


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
