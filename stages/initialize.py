"""initialize: step 0, an empty network and an empty memory, so that step 1 is no special case.

With weights that the first extractor starts from, if there are any.
"""

from der.data.arrays import empty_memory, save_memory
from der.model.metadata import save_empty_checkpoint
from der.pipeline.params import load_section
from der.pipeline.paths import checkpoint, memory
from der.pipeline.running_code import RunningCode
from der.pipeline.stage import run_stage
from der.settings.sections import NetworkSettings


def run(code: RunningCode) -> str:
    network = load_section(NetworkSettings, "network")
    if network.weights is None:
        save_empty_checkpoint(checkpoint(0))
        begun = ""
    else:
        from der.model.start import read_start, save_start  # torch costs seconds

        start = read_start(network, network.weights)
        code.confirm()
        save_start(checkpoint(0), start)
        begun = f", and weights for {network.backbone} of {start.identity}"
    save_memory(memory(0), empty_memory())
    return f"initialize: empty network and memory{begun}"


if __name__ == "__main__":
    run_stage("initialize", run)
