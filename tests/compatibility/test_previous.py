"""What an earlier revision wrote: today's code goes on from it, or says in a sentence what to do instead.

revision.json in the folder ``previous`` says which revision it was; make.py makes the folder anew. Only a
checkpoint has a format of its own, FORMAT, which is raised when older ones are to be refused. The state of an
interrupted training lies under a key with the fingerprint of the code: code that was edited never meets it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import UserError
from der.core.sealed import seal
from der.core.serialization import read_array, read_json, write_array
from der.data.exemplars import load_memory
from der.model.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from der.pipeline.damage import advising
from der.train.resume.store import StateStore
from tests.builders import MemoryKeeper, Recorder
from tests.compatibility.make import CHECKPOINT, FOLDER, MEMORY, NUMBERS, REVISION, SCRATCH
from tests.compatibility.tiny_run import KEY, STEPS, Numbers, learn_head, predict, remember, train
from tests.model.test_checkpoint import edit

CLOSE = 1e-4  # on other processors sums are rounded elsewhere
REFUSED = rf"network\.json: not a DER checkpoint of format {FORMAT}; train it again$"


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(FOLDER, tmp_path / "previous"))


def numbers(name: str) -> Numbers:
    """What the earlier revision got."""
    values: Numbers = read_array(FOLDER / NUMBERS / f"{name}.npy")
    return values


@pytest.fixture
def known() -> None:
    """Skips what can only be done with checkpoints of this revision's format, after seeing others refused."""
    if read_json(FOLDER / REVISION)["checkpoint_format"] != FORMAT:
        with pytest.raises(UserError, match=REFUSED):
            load_checkpoint(FOLDER / CHECKPOINT)
        pytest.skip("checkpoints of the previous revision are refused")


@pytest.mark.usefixtures("known")
def test_checkpoint_and_memory_give_the_same_numbers(previous: Path) -> None:
    found = predict(load_checkpoint(previous / CHECKPOINT), load_memory(previous / MEMORY))
    for name, values in found.items():
        assert np.allclose(values, numbers(name), atol=CLOSE), name


@pytest.mark.usefixtures("known")
def test_the_next_step_goes_on_from_them(previous: Path) -> None:
    before, memory = load_checkpoint(previous / CHECKPOINT), load_memory(previous / MEMORY)
    after = train(3, before, memory)
    save_checkpoint(previous / "checkpoints/3", after, previous / CHECKPOINT)
    again = load_checkpoint(previous / "checkpoints/3")
    assert again.metadata.steps == STEPS
    assert again.metadata.recipes[:2] == before.metadata.recipes
    for number in (1, 2):
        name = f"checkpoints/{{}}/extractor_{number}.safetensors"
        assert (previous / name.format(3)).read_bytes() == (previous / name.format(2)).read_bytes()
    renewed = remember(3, again, memory)
    for label in range(4):
        kept = renewed.of_class(label).copy()
        assert len(kept) and np.array_equal(kept, memory.of_class(label).copy()[: len(kept)])


@pytest.mark.usefixtures("known")
def test_interrupted_training_goes_on_and_ends_the_same(previous: Path) -> None:
    memory, warnings, listener = load_memory(previous / MEMORY), list[str](), Recorder()
    with StateStore(previous / SCRATCH, KEY, warnings.append) as keeper:
        head = learn_head(load_checkpoint(previous / CHECKPOINT), memory, keeper, listener)
    assert (listener.resumed, warnings) == ([1], [])
    assert np.allclose(head, numbers("head"), atol=CLOSE)
    anew = learn_head(load_checkpoint(previous / CHECKPOINT), memory, MemoryKeeper(), Recorder())
    assert np.allclose(head, anew, atol=CLOSE)


@pytest.mark.parametrize("format", [FORMAT - 1, FORMAT + 1, str(FORMAT), None])
def test_a_checkpoint_of_another_format_is_refused(format: object, previous: Path) -> None:
    edit(previous / CHECKPOINT, format=format)
    with pytest.raises(UserError, match=REFUSED):
        load_checkpoint(previous / CHECKPOINT)


def widen(memory: Path) -> None:
    """Class means in float64."""
    write_array(memory / "class_means.npy", read_array(memory / "class_means.npy").astype(np.float64))
    seal(memory, {})


def drop_class(memory: Path) -> None:
    """One mean less than there are classes."""
    write_array(memory / "class_means.npy", read_array(memory / "class_means.npy")[1:])
    seal(memory, {})


def drop_file(memory: Path) -> None:
    """No labels."""
    (memory / "labels.npy").unlink()
    seal(memory, {})


def drop_manifest(memory: Path) -> None:
    """As before directories were sealed."""
    (memory / "manifest.json").unlink()


def extend_manifest(memory: Path) -> None:
    """A manifest with a key that it does not have today."""
    content = json.loads((memory / "manifest.json").read_text())
    (memory / "manifest.json").write_text(json.dumps(content | {"format": 2}))


@pytest.mark.parametrize("change", [widen, drop_class, drop_file, drop_manifest, extend_manifest])
def test_a_memory_of_another_form_is_refused(change: Callable[[Path], None], previous: Path) -> None:
    change(previous / MEMORY)
    says_what_to_do = r"^[^\n]+; (build it again|run `der verify --repair`, then `dvc repro`)$"
    with pytest.raises(UserError, match=says_what_to_do), advising():
        load_memory(previous / MEMORY)


def test_training_state_of_another_form_is_set_aside_and_training_starts_anew(previous: Path) -> None:
    (path,) = (previous / SCRATCH).glob("*/*.state")
    path.write_bytes(b"version 2\n" + path.read_bytes())
    warnings, listener = list[str](), Recorder()
    memory = load_memory(previous / MEMORY)
    with StateStore(previous / SCRATCH, KEY, warnings.append) as keeper:
        head = learn_head(load_checkpoint(previous / CHECKPOINT), memory, keeper, listener)
    assert warnings == [f"{path}: damaged, set aside; going on from the state before it, if any"]
    assert not listener.resumed
    assert np.allclose(head, numbers("head"), atol=CLOSE)


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 40_000
