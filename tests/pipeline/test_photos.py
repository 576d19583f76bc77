"""examples/photos: its commands, on a tiny pipeline."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.locations import ROOT
from tests.pipeline.lab import Pipeline, numbered

PAGE = (ROOT / "examples/photos/README.md").read_text(encoding="utf-8")
SHAPES = ["circle", "pentagon", "square", "triangle"]


def flat(values: dict[str, dict[str, object]]) -> dict[str, object]:
    return {f"{section}__{key}": value for section, one in values.items() for key, value in one.items()}


def test_its_commands(pipeline: Pipeline) -> None:
    draw, *rest = [line.partition("#")[0].split() for line in re.findall(r"^    (.*)$", PAGE, re.MULTILINE)]
    shutil.rmtree(pipeline.root / "data/images/train")
    pipeline.succeed(*draw, "--images", "8")
    assert sorted(path.name for path in (pipeline.root / "data/images/train").iterdir()) == SHAPES
    (values,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    pipeline.edit(**flat(yaml.safe_load(values)))
    chain, repro, show, predict, more, add, again = rest
    assert [chain[:2], repro, show, again] == [["der", "chain"], ["dvc", "repro"], ["der", "show"], repro]
    pipeline.der(*chain[1:])
    stages = ["check", "download", "split", "T1", "B1", "E1", "T2", "B2", "E2", "summarize", "report"]
    assert sorted(pipeline.repro().run) == sorted(numbered(*stages))  # initialize has nothing new
    assert "4" in pipeline.der(*show[1:])
    assert set(re.findall(r"\b(circle|pentagon|square|triangle)\b", pipeline.der(*predict[1:]))) >= {"circle"}
    pipeline.succeed(*more, "--images", "8")
    assert "star" in pipeline.der(*add[1:])


def test_the_same_pictures_whenever_they_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.examples.programs import load_program

    program = load_program("photos/make_photos.py")
    for place in ("a", "b", "a"):
        monkeypatch.setattr(
            "sys.argv", ["make_photos.py", "star", "circle", "--images", "2", "--to", str(tmp_path / place)]
        )
        program.main()
    assert capsys.readouterr().out.count("there already") == 2
    first, second = (sorted((tmp_path / place).rglob("*.jpg")) for place in "ab")
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second] and len(first) == 4
    with Image.open(first[0]) as picture:
        assert picture.size == (96, 72)
    monkeypatch.setattr("sys.argv", ["make_photos.py", "cat"])
    with pytest.raises(SystemExit):
        program.main()
