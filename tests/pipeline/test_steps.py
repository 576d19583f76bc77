"""The length of the chain and the classes of a step, from files that may be anything."""

from pathlib import Path

import pytest

from der.core.errors import UserError
from der.core.files import sealed_directory
from der.pipeline import project
from der.pipeline.project import chain_length, read_task, write_chain, write_classes


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
    images = project.train_images(len(steps))
    with sealed_directory(images) as directory:
        write_classes(directory, steps)
    assert read_task(images, len(steps)) == steps


def test_the_classes_of_another_step_are_named() -> None:
    images = project.test_images(2)
    with sealed_directory(images) as directory:
        write_classes(directory, [["ant"]])
    with pytest.raises(
        UserError, match=r"^data/tasks/2/test/classes\.json: not the classes of 2 steps; run `dvc repro`$"
    ):
        read_task(images, 2)
