"""Where every artifact lies, relative to the repository's root."""

from pathlib import Path

PARAMS = Path("params.yaml")
GRAPH = Path("dvc.yaml")
CHAIN = Path("chain.yaml")
FINGERPRINTS = Path("data/fingerprints")
RAW = Path("data/raw")
TASKS = Path("data/tasks")
CHECKPOINTS = Path("data/checkpoints")
PER_STEP_METRICS = Path("metrics/steps")
PER_STEP_TRAINING = Path("metrics/training")
PER_STEP_CONFUSION = Path("metrics/confusion")
PER_STEP_MISTAKES = Path("metrics/mistakes")
SUMMARY = Path("metrics/summary.json")
PLOTS = Path("metrics/plots")
REPORT = Path("metrics/report.html")


def fingerprint(stage: str) -> Path:
    """What the code of a stage says: a line for every module."""
    return FINGERPRINTS / stage


def task(step: int) -> Path:
    """Images and class names of a step: train/, test/ and classes.json."""
    return TASKS / str(step)


def checkpoint(step: int) -> Path:
    """Checkpoint directory after a step; step 0 is the empty network."""
    return CHECKPOINTS / str(step)


def memory(step: int) -> Path:
    """Exemplars after a step; step 0 is the empty memory."""
    return Path("data/memory") / str(step)


def training_log(step: int) -> Path:
    """Loss and accuracy per epoch."""
    return PER_STEP_TRAINING / f"{step}.csv"


def step_metrics(step: int) -> Path:
    """Test metrics after a step."""
    return PER_STEP_METRICS / f"{step}.json"


def confusion(step: int) -> Path:
    """Confusion matrix after a step."""
    return PER_STEP_CONFUSION / f"{step}.csv"


def mistakes(step: int) -> Path:
    """Pictures of the most confident mistakes after a step."""
    return PER_STEP_MISTAKES / str(step)


def outputs(step: int) -> list[Path]:
    """All that the stages of a step leave."""
    return [of(step) for of in (checkpoint, memory, training_log, step_metrics, confusion, mistakes)]
