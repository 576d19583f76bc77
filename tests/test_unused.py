"""The length of the chain, from a file that may be anything."""

from pathlib import Path

import pytest

from der.common.errors import UserError
from stages.chain import write_chain
from stages.common.unused import chain_length


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
        "steps: 2024-02-31",
        "[" * 3000,
        b"\xff",
    ],
    ids=str,
)
def test_a_chain_that_is_none_says_how_to_write_one(content: str | bytes | None, place: Path) -> None:
    if content is not None:
        (place / "chain.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    message = r"^chain\.yaml: missing or damaged; run `python -m stages\.chain N`, N the number of steps$"
    with pytest.raises(UserError, match=message):
        chain_length()
