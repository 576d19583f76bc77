"""A shorter chain: what steps past its end have left goes only where DVC's cache has it."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from der.core.errors import UserError
from der.core.sealed import sealed_directory
from der.pipeline import resizing
from der.pipeline.edits import add_classes, apply_preset, resize_chain
from der.pipeline.markers import mark_unused
from der.pipeline.objects import find_object, hash_files, hash_output
from der.pipeline.params import read_text
from der.pipeline.paths import PARAMS, checkpoint, memory
from der.pipeline.steps import chain_length, write_chain
from tests.pipeline.clones import make_clone
from tests.runs.lab import digests, set_parameters

STEP = 5  # past the end of the digits' chain


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache of a clone with a chain of 5 steps, and results of the last."""
    make_clone(tmp_path, monkeypatch)
    monkeypatch.setattr(resizing, "find_cache", lambda: tmp_path / "cache")
    write_chain(STEP)
    for output in (checkpoint(STEP), memory(STEP)):
        with sealed_directory(output) as directory:
            (directory / "values").write_text(str(output))
    return tmp_path / "cache"


def put(cache: Path, output: Path) -> None:
    """Have the cache hold an output."""
    for name in (*hash_files(output).values(), hash_output(output)):
        find_object(cache, name).parent.mkdir(parents=True, exist_ok=True)
        find_object(cache, name).touch()


def refuses(output: Path) -> None:
    """All that shortens the chain names the output, and changes nothing."""
    before = digests(Path())
    shorten = (partial(resize_chain, None), partial(apply_preset, "paper_b50_2"), partial(add_classes, ["9"]))
    for command in shorten:
        with pytest.raises(UserError) as caught:
            command()
        assert re.fullmatch(
            rf"{output}: past the end of a chain of [34] steps, and not in DVC's cache; move it away, or run "
            r"`dvc commit -f` while params\.yaml and chain\.yaml are those that made it",
            str(caught.value),
        )
    assert digests(Path()) == before


def test_what_the_cache_lacks_stays(cache: Path) -> None:
    (checkpoint(1) / "network.json").parent.mkdir()
    steps = [["0", "1", "2", "3"], ["4", "5"], ["6", "7"]]
    (checkpoint(1) / "network.json").write_text(json.dumps({"steps": steps}))
    refuses(checkpoint(STEP))
    put(cache, checkpoint(STEP))
    refuses(memory(STEP))
    put(cache, memory(STEP))
    (checkpoint(STEP) / "values").write_text("of a run without DVC")  # beside its object of an earlier one
    refuses(checkpoint(STEP))


def test_what_the_cache_has_goes(cache: Path) -> None:
    for output in (checkpoint(STEP), memory(STEP)):
        put(cache, output)
    (memory(STEP) / ".DS_Store").touch()
    before = read_text()
    assert resize_chain(None) == 4 == chain_length()
    assert not checkpoint(STEP).exists() and not memory(STEP).exists()
    assert read_text() == before


def test_markers_are_made_again() -> None:
    mark_unused("train_task", STEP, checkpoint(STEP), memory(STEP))
    resize_chain(None)
    assert not checkpoint(STEP).exists() and not memory(STEP).exists()


def test_without_dvc_no_cache_has_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ModuleNotFoundError(name="dvc")

    monkeypatch.setattr(resizing, "find_cache", missing)
    with pytest.raises(UserError, match=r"^data/checkpoints/5: past the end of a chain of 4 steps, and not"):
        resize_chain(None)


def test_a_longer_chain_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "find_cache", lambda: pytest.fail("asked for DVC"))
    set_parameters(PARAMS, {"protocol.first_classes": 1, "protocol.later_classes": 1})
    assert resize_chain(None) == 10
    assert checkpoint(STEP).exists()
    shutil.rmtree(checkpoint(STEP))
    assert resize_chain(12) == 12
