"""The length of the chain and the classes of a step, from files that may be anything."""

import json
from pathlib import Path

import pytest

from der.common.errors import UserError
from der.common.serialization import write_json
from der.project import paths
from der.project.chain import chain_length, write_chain
from der.project.markers import mark_unused
from der.project.tasks import is_unused, read_task


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("length", [1, 2, 11])
def test_the_length_is_what_was_written(length: int) -> None:
    write_chain(length)
    assert chain_length() == length


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[steps]",
        "steps: 3",
        "steps: [",
        "steps: {}",
        'step: {"1": {}}',
        "steps: {1: {}, 2: {}}",
        'steps: {"1": {}, "3": {}}',
        'steps: {"1": {previous: 0, phase: base}, "2": {previous: 0, phase: base}}',
        "steps: 2024-02-31",
        "[" * 3000,
        b"\xff",
    ],
    ids=str,
)
def test_a_chain_that_is_none_says_how_to_write_one(content: str | bytes | None, place: Path) -> None:
    if content is not None:
        (place / "chain.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    message = r"^chain\.yaml: missing or damaged; run `der chain`$"
    with pytest.raises(UserError, match=message):
        chain_length()


@pytest.mark.parametrize("steps", [[["ant", "bee"]], [["ant"], ["bee", "Größe"], ["1"]]])
def test_the_classes_are_those_that_were_written(steps: list[list[str]]) -> None:
    number = len(steps)
    write_json(paths.task(number) / "classes.json", {"steps": steps})
    assert read_task(number) == steps
    assert not is_unused(number)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        3,
        {"steps": []},
        {"steps": None},
        {"steps": [["ant"]]},
        {"steps": [["ant"], ["bee"], ["cat"]]},
        {"steps": [["ant"], []]},
        {"steps": [["ant"], "bee"]},
        {"steps": [["ant"], [2]]},
    ],
    ids=json.dumps,
)
def test_other_content_is_named(content: object) -> None:
    write_json(paths.task(2) / "classes.json", content)
    with pytest.raises(
        UserError, match=r"^data/tasks/2/classes\.json: not the classes of 2 steps; run `dvc repro`$"
    ):
        read_task(2)


def test_a_marker_is_no_task() -> None:
    mark_unused("split", 3, paths.task(3) / "classes.json")
    assert is_unused(3)
    with pytest.raises(UserError, match=r"classes\.json: not the classes of 3 steps"):
        read_task(3)
    with pytest.raises(UserError, match=r"^data/tasks/1/classes\.json: cannot be read as JSON"):
        read_task(1)
