"""What an earlier revision wrote: today's code goes on from it, or says in a sentence what to do instead.

revision.json in the folder ``previous`` says which revision it was; make.py makes the folder anew. Only a
checkpoint has a format of its own, FORMAT, which is raised when older ones are to be refused. The state of an
interrupted training lies under a key with the fingerprint of the code: code that was edited never meets it.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import UserError
from der.core.files import read_array, read_json
from der.data.arrays import load_memory
from der.model.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from der.train.resume import PREFIX, STATE, StateStore
from tests.builders import MemoryKeeper, Recorder
from tests.compatibility import make
from tests.compatibility.make import CHECKPOINT, FOLDER, KEY, MEMORY, NUMBERS, SCRATCH, learn_head
from tests.model.test_checkpoint import edit

CLOSE = 1e-4  # on other processors sums are rounded elsewhere
REFUSED = rf"network\.json: not a DER checkpoint of format {FORMAT}; train it again$"


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """A copy to work on of the folder, which is small."""
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 40_000
    return Path(shutil.copytree(FOLDER, tmp_path / "previous"))


def numbers(name: str) -> make.Numbers:
    """What the earlier revision got."""
    values: make.Numbers = read_array(FOLDER / NUMBERS / f"{name}.npy")
    return values


@pytest.fixture
def known() -> None:
    """Skips what can only be done with checkpoints of this revision's format, after seeing others refused."""
    if read_json(FOLDER / make.REVISION)["checkpoint_format"] != FORMAT:
        with pytest.raises(UserError, match=REFUSED):
            load_checkpoint(FOLDER / CHECKPOINT)
        pytest.skip("checkpoints of the previous revision are refused")


@pytest.mark.usefixtures("known")
def test_checkpoint_and_memory_give_the_same_numbers(previous: Path) -> None:
    found = make.predict(load_checkpoint(previous / CHECKPOINT), load_memory(previous / MEMORY))
    for name, values in found.items():
        assert np.allclose(values, numbers(name), atol=CLOSE), name


@pytest.mark.usefixtures("known")
def test_the_next_step_goes_on_from_them(previous: Path) -> None:
    before, memory = load_checkpoint(previous / CHECKPOINT), load_memory(previous / MEMORY)
    after = make.train(3, before, memory)
    save_checkpoint(previous / "checkpoints/3", after, previous / CHECKPOINT)
    again = load_checkpoint(previous / "checkpoints/3")
    assert again.metadata.steps == make.STEPS
    assert again.metadata.recipes[:2] == before.metadata.recipes
    for number in (1, 2):
        name = f"checkpoints/{{}}/extractor_{number}.safetensors"
        assert (previous / name.format(3)).read_bytes() == (previous / name.format(2)).read_bytes()
    renewed = make.remember(3, again, memory)
    for label in range(4):
        kept = renewed.of_class(label).copy()
        assert len(kept) and np.array_equal(kept, memory.of_class(label).copy()[: len(kept)])


@pytest.mark.usefixtures("known")
def test_interrupted_training_goes_on_and_ends_the_same(previous: Path) -> None:
    memory, warnings, listener = load_memory(previous / MEMORY), list[str](), Recorder()
    known = (previous / SCRATCH / f"{PREFIX}{KEY}" / STATE).exists()  # else of a form that is passed over
    with StateStore(previous / SCRATCH, KEY, warnings.append) as keeper:
        head = learn_head(load_checkpoint(previous / CHECKPOINT), memory, keeper, listener)
    assert (listener.resumed, warnings) == ([1] if known else [], [])
    assert np.allclose(head, numbers("head"), atol=CLOSE)
    anew = learn_head(load_checkpoint(previous / CHECKPOINT), memory, MemoryKeeper(), Recorder())
    assert np.allclose(head, anew, atol=CLOSE)


@pytest.mark.parametrize("format", [FORMAT - 1, FORMAT + 1])
def test_a_checkpoint_of_another_format_is_refused(format: int, previous: Path) -> None:
    edit(previous / CHECKPOINT, format=format)
    with pytest.raises(UserError, match=REFUSED):
        load_checkpoint(previous / CHECKPOINT)
