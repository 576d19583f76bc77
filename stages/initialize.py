"""initialize: step 0, an empty network and an empty memory, so that step 1 is no special case."""

from der.data.exemplars import empty_memory, save_memory
from der.model.metadata import save_empty_checkpoint
from der.project.paths import checkpoint, memory
from der.project.stage import run_stage


def run() -> str:
    save_empty_checkpoint(checkpoint(0))
    save_memory(memory(0), empty_memory())
    return "initialize: empty network and memory"


if __name__ == "__main__":
    run_stage(run)
