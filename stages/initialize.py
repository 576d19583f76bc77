"""initialize: step 0, an empty network and an empty memory, so that step 1 is no special case.

It also stores the start weights of the first extractor, if there are any.
"""

from der.data.arrays import empty_memory, save_memory
from der.model.checkpoint import save_empty_checkpoint
from der.pipeline import project
from der.pipeline.stage import Given, run_stage
from der.settings.sections import NetworkSettings


def run(given: Given) -> str:
    network = given.section(NetworkSettings, "network")
    start, begun = None, ""
    if network.weights is not None:
        from der.model.weights import read_start  # torch costs seconds

        given.reads(project.WEIGHTS)
        start = read_start(network, network.weights)
        begun = f", and weights for {network.backbone} of {start.identity}"
        given.confirm()
    save_empty_checkpoint(project.checkpoint(0), start)
    save_memory(project.memory(0), empty_memory())
    return f"initialize: empty network and memory{begun}"


if __name__ == "__main__":
    run_stage("initialize", run)
