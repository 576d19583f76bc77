"""split: the data set dealt out over the steps of the protocol."""

from der.core.files import (atomic_directory)
from der.data.arrays import (check_budget, list_classes)
from der.data.protocol import plan_steps
from der.pipeline.chain import chain_length, check_chain
from der.pipeline.params import load_section
from der.pipeline.paths import RAW, TASKS
from der.pipeline.running_code import RunningCode
from der.pipeline.splitting import deal_out
from der.pipeline.stage import run_stage
from der.settings.memory import MemorySettings
from der.settings.protocol import ProtocolSettings


def run(code: RunningCode) -> str:
    steps = plan_steps(list_classes(RAW / "train"), load_section(ProtocolSettings, "protocol"))
    # Here, not after hours of training.
    check_budget(load_section(MemorySettings, "memory"), sum(map(len, steps)))
    check_chain(len(steps))
    with atomic_directory(TASKS) as directory:
        deal_out(steps, chain_length(), directory)
        code.confirm()
    sizes = ", ".join(str(len(names)) for names in steps)
    return f"split: {len(steps)} steps of {sizes} classes"


if __name__ == "__main__":
    run_stage("split", run)
