"""`der predict`: its lines, which no name can break; `der export`: what it says and what it refuses."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from der.cli.main import MOST_PICTURES, main, start_csv, start_table
from der.inference.predictor import Prediction, Predictor, load_predictor
from der.model.checkpoint import save_checkpoint, save_empty_checkpoint
from tests.builders import CPU, random_checkpoint, random_images


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of five classes, the working directory beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    save_empty_checkpoint(tmp_path / "0")
    save_checkpoint(tmp_path / "1", random_checkpoint([5]), tmp_path / "0")
    return tmp_path / "1"


def save_pictures(directory: str, count: int) -> None:
    Path(directory).mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(random_images(0, count)):
        Image.fromarray(image).save(Path(directory) / f"{index}.png")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_the_predictor_s_answers(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures("in", 7)
    main(["predict", str(saved), "in", "--csv", "--top", "99"])  # more than there are classes
    found = rows(capsys.readouterr().out)
    assert [row["picture"] for row in found] == [f"in/{index}.png" for index in range(7)]
    for row, best in zip(found, load_predictor(saved, CPU).best(random_images(0, 7), 5), strict=True):
        assert [row[f"class_{rank}"] for rank in range(1, 6)] == [one.name for one in best]
        said = [float(row[f"probability_{rank}"]) for rank in range(1, 6)]
        assert said == pytest.approx([one.probability for one in best], abs=1e-6)
        assert "class_6" not in row


def test_json_holds_the_predictor_s_answers_by_line(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures("in", 3)
    main(["predict", str(saved), "in", "--json", "--top", "2"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["picture"] for one in found] == [f"in/{index}.png" for index in range(3)]
    for one, best in zip(found, load_predictor(saved, CPU).best(random_images(0, 3), 2), strict=True):
        assert [guess["class"] for guess in one["classes"]] == [guess.name for guess in best]
        said = [guess["probability"] for guess in one["classes"]]
        assert said == pytest.approx([guess.probability for guess in best], abs=1e-6)


def test_links_in_circles_are_followed_once(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures("in/b", 2)
    save_pictures("elsewhere", 1)
    for link, target in (("in/a", "."), ("in/b/up", ".."), ("in/c", "b"), ("in/d", "../elsewhere")):
        Path(link).symlink_to(target)
    main(["predict", str(saved), "in", "--csv", "--top", "1"])
    found = [row["picture"] for row in rows(capsys.readouterr().out)]
    assert found == ["in/b/0.png", "in/b/1.png", "in/d/0.png"]


def test_what_is_no_readable_picture_is_reported_and_skipped(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("der.model.network.PASS_VALUES", 2 * 8 * 8 * 3)  # two pictures a chunk
    save_pictures("in", 5)
    save_pictures("in/shut", 1)
    for name in ("1.png", "2.png"):  # a chunk of one, then one of the second
        Path("in", name).write_bytes(b"no picture")
    os.mkfifo("pipe.png")
    Path("in/dangling.png").symlink_to("nowhere.png")
    listed = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name == "shut":  # as of another user
            raise PermissionError
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(saved), "in", "pipe.png", "--csv"])
    assert ended.value.code == "error: 5 of 8 files could not be read as pictures"
    printed = capsys.readouterr()
    assert [row["picture"] for row in rows(printed.out)] == ["in/0.png", "in/3.png", "in/4.png"]
    no_picture = "cannot be read as a picture; convert it to JPEG or remove it"
    assert printed.err.splitlines() == [
        *(f"skipped: in/{one}.png: {no_picture}" for one in "12"),
        "skipped: in/dangling.png: cannot be read as a picture; repair or remove it "
        "([Errno 2] No such file or directory: 'in/dangling.png')",
        "skipped: in/shut: no file that can be read; give pictures, or remove it",
        "skipped: pipe.png: no file that can be read; give pictures, or remove it",
    ]


def test_answers_come_before_the_last_picture_is_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pictures("in", 1)
    many = [Path("in/0.png")] * (2 * MOST_PICTURES + 1)
    monkeypatch.setattr("der.inference.predictor.list_pictures", lambda _: many)
    sizes: list[int] = []
    best = Predictor.best

    def count(
        predictor: Predictor, images: NDArray[np.uint8], top: int, **options: Any
    ) -> list[list[Prediction]]:
        sizes.append(len(images))
        return best(predictor, images, top, **options)

    monkeypatch.setattr(Predictor, "best", count)
    main(["predict", str(saved), "in/0.png", "--csv"])
    assert sizes == [MOST_PICTURES, MOST_PICTURES, 1] and MOST_PICTURES <= 256


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["1", "in", "nowhere"], "nowhere: there is no such file or directory"),
        (["1", "in", "empty"], "empty: there is no picture in this directory"),
        (["in", "in"], "in: no DER checkpoint, a directory with network.json"),
    ],
)
def test_a_wrong_path_is_named_before_any_work(
    words: list[str], sentence: str, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures("in", 1)
    Path("empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["predict", *words])
    assert ended.value.code == f"error: {sentence}"
    assert capsys.readouterr().out == ""


@pytest.mark.torture
def test_names_that_no_terminal_shows(saved: Path) -> None:
    save_pictures("in", 2)
    os.rename(b"in/0.png", b"in/a\nb\x1b[31m\xff \xc3\xbc.png")  # no UTF-8, and a letter that ASCII lacks
    Path("in/1.png").write_bytes(b"")
    line = [sys.executable, "-m", "der", "predict", str(saved), "in", "--top", "1"]
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(line, capture_output=True, env=os.environ | ascii_only)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"error: 1 of 2 files could not be read as pictures"
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.splitlines()[1].startswith(rb"in/a\nb\x1b[31m\udcff ")


def test_columns_stand_below_each_other_whatever_the_letters(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["katze", "猫", "cafe\u0301", "x\ny"]  # of five, two and four columns, and one that breaks lines
    print_line = start_table([Path("猫.png"), Path("b\r")], names, 1)
    for name in names:
        print_line("猫.png", [Prediction(name, 0.5)])
    print_line("b\r", [Prediction("katze", 0.25)])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "猫.png   katze  50.00 %",
        "猫.png   猫     50.00 %",
        "猫.png   cafe\u0301   50.00 %",
        "猫.png   x\\ny   50.00 %",
        "b\\r      katze  25.00 %",
    ]


def test_no_name_in_csv_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    start_csv(1)("@SUM(A1).png", [Prediction("=1+1", 0.5)])
    assert capsys.readouterr().out.splitlines()[1:] == ["'@SUM(A1).png,'=1+1,0.500000"]


# der export


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_onnx_needs_its_packages(package: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(saved), "--format", "onnx"])
    assert ended.value.code == f"error: ONNX needs {package}; pip install onnx onnxruntime onnxscript"


def test_step_zero_is_not_exported(saved: Path) -> None:
    with pytest.raises(SystemExit, match="which knows no class"):
        main(["export", str(saved.parent / "0"), "--format", "torch"])
    assert not Path("network.pt2").exists()
