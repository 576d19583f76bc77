"""The console command, run in this process and once as a program."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from der.cli.main import main
from der.cli.predict import MOST_PICTURES
from der.inference import loader
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


def save_pictures(directory: Path, count: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(random_images(0, count)):
        Image.fromarray(image).save(directory / f"{index}.png")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_the_predictor_s_answers(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures(Path("in"), 7)
    main(["predict", str(saved), "in", "--csv", "--top", "2"])
    found = rows(capsys.readouterr().out)
    best = load_predictor(saved, CPU).best(random_images(0, 7), 2)
    assert [row["picture"] for row in found] == [f"in/{index}.png" for index in range(7)]
    for row, (first, second) in zip(found, best, strict=True):
        assert (row["class_1"], row["class_2"]) == (first.name, second.name)
        assert float(row["probability_1"]) == pytest.approx(first.probability, abs=1e-6)
        assert float(row["probability_2"]) == pytest.approx(second.probability, abs=1e-6)


def test_table_has_a_line_per_picture(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures(Path("in"), 3)
    main(["predict", str(saved), "in/2.png", "in/0.png", "--top", "1"])
    (third,), _, (first,) = load_predictor(saved, CPU).best(random_images(0, 3))[::-1]
    assert capsys.readouterr().out.splitlines() == [
        "picture   top-1",
        f"in/2.png  {third.name} {100 * third.probability:6.2f} %",
        f"in/0.png  {first.name} {100 * first.probability:6.2f} %",
    ]


def test_more_guesses_than_classes(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures(Path("in"), 1)
    main(["predict", str(saved), "in", "--csv", "--top", "99"])
    (row,) = rows(capsys.readouterr().out)
    assert sum(float(row[f"probability_{rank}"]) for rank in range(1, 6)) == pytest.approx(1, abs=1e-5)
    assert "class_6" not in row


def test_unreadable_pictures_are_reported_and_skipped(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("der.model.forward.PASS_VALUES", 2 * 8 * 8 * 3)  # two pictures a chunk
    save_pictures(Path("in"), 5)
    for name in ("1.png", "2.png"):  # a chunk of one, then one of the second
        Path("in", name).write_bytes(b"no picture")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(saved), "in", "--csv"])
    assert ended.value.code == "error: 2 of 5 files could not be read as pictures"
    printed = capsys.readouterr()
    assert [row["picture"] for row in rows(printed.out)] == ["in/0.png", "in/3.png", "in/4.png"]
    lines = printed.err.splitlines()
    assert lines == [
        f"skipped: in/{name}: cannot be read as a picture; repair or remove it" for name in ("1.png", "2.png")
    ]


def test_nothing_readable_at_all(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.png").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(saved), "bad.png", "--csv"])
    assert ended.value.code == "error: 1 of 1 files could not be read as pictures"
    assert rows(capsys.readouterr().out) == []


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_any_mode_and_size(mode: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suffix = "tiff" if mode in ("CMYK", "I;16") else "png"
    Image.new(mode, (31, 17)).save(f"picture.{suffix}")
    main(["predict", str(saved), f"picture.{suffix}", "--csv"])
    assert len(rows(capsys.readouterr().out)) == 1


def test_links_in_circles_are_followed_once(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures(Path("in/b"), 2)
    save_pictures(Path("elsewhere"), 1)
    for link, target in (("in/a", "."), ("in/b/up", ".."), ("in/c", "b"), ("in/d", "../elsewhere")):
        Path(link).symlink_to(target)
    main(["predict", str(saved), "in", "--csv", "--top", "1"])
    found = [row["picture"] for row in rows(capsys.readouterr().out)]
    assert found == ["in/b/0.png", "in/b/1.png", "in/d/0.png"]


def test_what_is_no_readable_file_is_reported_and_skipped(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(Path("in"), 1)
    save_pictures(Path("in/shut"), 1)
    os.mkfifo("in/pipe.png")
    os.mkfifo("pipe.png")
    Path("in/dangling.png").symlink_to("nowhere.png")
    Path("in/itself").symlink_to("itself")
    listed = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name == "shut":  # as of another user
            raise PermissionError
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(saved), "in", "pipe.png", "--csv"])
    assert ended.value.code == "error: 5 of 6 files could not be read as pictures"
    printed = capsys.readouterr()
    assert [row["picture"] for row in rows(printed.out)] == ["in/0.png"]
    assert printed.err.splitlines() == [
        "skipped: in/dangling.png: cannot be reached; repair or remove it (No such file or directory)",
        "skipped: in/itself: cannot be reached; repair or remove it (Too many levels of symbolic links)",
        "skipped: in/pipe.png: neither file nor folder; remove it",
        "skipped: in/shut: this folder cannot be listed; allow it",
        "skipped: pipe.png: neither file nor folder; remove it",
    ]


def test_answers_come_long_before_the_last_picture_is_read(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = "in/0.png"
    save_pictures(Path("in"), 1)
    many = [Path(picture)] * (2 * MOST_PICTURES + 1)
    monkeypatch.setattr(loader, "list_pictures", lambda _: many)
    sizes: list[int] = []
    best = Predictor.best

    def count(predictor: Predictor, images: NDArray[np.uint8], top: int) -> list[list[Prediction]]:
        sizes.append(len(images))
        return best(predictor, images, top)

    monkeypatch.setattr(Predictor, "best", count)
    main(["predict", str(saved), picture, "--csv"])
    assert sizes == [MOST_PICTURES, MOST_PICTURES, 1] and MOST_PICTURES <= 256


ODD = b"in/a\nb\x1b[31m\xff \xc3\xbc.png"  # a line end, a colour, no UTF-8, a letter that ASCII lacks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "environment"),
    [([], {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}), (["--csv"], {})],
)
def test_names_that_no_terminal_shows(words: list[str], environment: dict[str, str], saved: Path) -> None:
    save_pictures(Path("in"), 2)
    os.rename(b"in/0.png", ODD)
    Path("in/1.png").write_bytes(b"")
    line = [sys.executable, "-m", "der", "predict", str(saved), "in", "--top", "1", *words]
    done = subprocess.run(line, capture_output=True, env=os.environ | environment)
    assert done.stderr.splitlines()[-1] == b"error: 1 of 2 files could not be read as pictures"
    assert b"Traceback" not in done.stderr
    assert b".png" in done.stdout
    if not words:
        assert len(done.stdout.splitlines()) == 2 and b"\x1b" not in done.stdout
        assert done.stdout.splitlines()[1].startswith(rb"in/a\nb\x1b[31m\udcff ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("closed", "words"), [(">&-", "--csv"), (">&- 2>&-", "--top 1"), ("2>&-", "--top 1")]
)
def test_a_closed_stream_loses_only_what_it_would_have_shown(closed: str, words: str, saved: Path) -> None:
    save_pictures(Path("in"), 2)
    line = f"{sys.executable} -m der predict {saved} in {words} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == (0 if ">&-" in closed.split() else 3)


FAULTS = {
    "nowhere": "error: nowhere: there is no such file or directory",
    "empty": "error: empty: there is no picture in this directory",
}


@pytest.mark.parametrize("path", FAULTS)
def test_a_wrong_path_is_named_before_any_work(
    path: str, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(Path("in"), 1)
    Path("empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(saved), "in", path])
    assert ended.value.code == FAULTS[path]
    assert capsys.readouterr().out == ""


def test_no_checkpoint(saved: Path) -> None:
    save_pictures(Path("in"), 1)
    with pytest.raises(SystemExit) as ended:
        main(["predict", "in", "in"])
    assert ended.value.code == "error: in: no DER checkpoint, a directory with network.json"


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_a_count_that_is_none(count: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(saved), "in", "--top", count])
    assert ended.value.code == 2
    assert f"argument --top: invalid count value: '{count}'" in capsys.readouterr().err


@pytest.mark.slow
def test_as_a_program(saved: Path) -> None:
    save_pictures(Path("in"), 2)
    Path("in/1.png").write_bytes(b"")
    line = [sys.executable, "-m", "der", "predict", str(saved), "in", "--csv", "--top", "1"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 1
    assert [row["picture"] for row in rows(done.stdout)] == ["in/0.png"]
    assert done.stderr.splitlines()[-1] == "error: 1 of 2 files could not be read as pictures"


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_fault(saved: Path) -> None:
    save_pictures(Path("in"), 3)
    line = f"{sys.executable} -m der predict {saved} in --csv | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert done.stderr == ""
