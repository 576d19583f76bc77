"""`python -m tests.compatibility.make`: the folder ``previous`` anew, as this revision writes its files.

A release commits it, after its tag: then the code of tomorrow is held to the files of that revision.
"""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from der.core.serialization import write_array, write_json
from der.data.exemplars import Memory, empty_memory, save_memory
from der.model.checkpoint import FORMAT, load_checkpoint, save_checkpoint, save_empty_checkpoint
from der.train.resume.lock import GUARD, HOLDER, LOCK
from der.train.resume.removal import PREFIX
from der.train.resume.store import StateStore
from tests.builders import Killed, Killer, MemoryKeeper, Recorder
from tests.compatibility.tiny_run import BATCHES, KEY, learn_head, predict, remember, train

FOLDER = Path(__file__).parent / "previous"
CHECKPOINT = "checkpoints/2"
MEMORY = "memory/2"
SCRATCH = "scratch"
NUMBERS = "numbers"
REVISION = "revision.json"


def main() -> None:
    """Make all of it; the tests of the folder say what it is for."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_json(FOLDER / REVISION, {"revision": read_revision(), "checkpoint_format": FORMAT})
    memory = make_run()
    make_interrupted(memory)
    numbers = predict(load_checkpoint(FOLDER / CHECKPOINT), memory)
    numbers["head"] = learn_head(load_checkpoint(FOLDER / CHECKPOINT), memory, MemoryKeeper(), Recorder())
    for name, values in numbers.items():
        write_array(FOLDER / NUMBERS / f"{name}.npy", values)


def read_revision() -> str:
    """The tag, or how many commits lie after it; "dirty" if there is more than git has."""
    line = ["git", "describe", "--tags", "--always", "--dirty"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def make_run() -> Memory:
    """Checkpoints of two steps, and the memory after the second, which is returned."""
    checkpoint, memory = None, empty_memory()
    save_empty_checkpoint(FOLDER / "checkpoints/0")
    for step in (1, 2):
        checkpoint = train(step, checkpoint, memory)
        memory = remember(step, checkpoint, memory)
        save_checkpoint(FOLDER / f"checkpoints/{step}", checkpoint, FOLDER / f"checkpoints/{step - 1}")
    save_memory(FOLDER / MEMORY, memory)
    return memory


def make_interrupted(memory: Memory) -> None:
    """The state of a training that was killed in its second epoch."""
    scratch = FOLDER / SCRATCH
    with suppress(Killed), StateStore(scratch, KEY, print) as keeper:
        learn_head(load_checkpoint(FOLDER / CHECKPOINT), memory, keeper, Killer(BATCHES))
    for path in (scratch / GUARD, *(scratch / f"{PREFIX}{KEY}" / name for name in (LOCK, HOLDER))):
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
