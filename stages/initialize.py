"""initialize: step 0, an empty network and an empty memory, so that step 1 is no special case."""

from der.memory.exemplars import empty_memory, save_memory
from der.model.checkpoint import save_empty_checkpoint
from stages.common.command import run_stage
from stages.common.params import load_settings
from stages.common.paths import checkpoint, memory


def run() -> str:
    load_settings()
    save_empty_checkpoint(checkpoint(0))
    save_memory(memory(0), empty_memory())
    return "initialize: empty network and memory"


if __name__ == "__main__":
    run_stage(run)
