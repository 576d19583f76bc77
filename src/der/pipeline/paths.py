"""Where every artifact lies, relative to the repository's root."""

from pathlib import Path

from der.data import SPLITS

PARAMS = Path("params.yaml")
GRAPH = Path("dvc.yaml")
FINGERPRINTS = Path("data/fingerprints")
INPUT = Path("data/input.json")
WEIGHTS = Path("data/weights")
RAW = Path("data/raw")
TASKS = Path("data/tasks")
CHECKPOINTS = Path("data/checkpoints")
SUMMARY = Path("metrics/summary.json")
PLOTS = Path("metrics/plots")
REPORT = Path("metrics/report.html")
COMPARISON = Path("metrics/comparison.html")


def fingerprint(stage: str) -> Path:
    """What the code of a stage says: a line for every module."""
    return FINGERPRINTS / stage


def train_images(step: int) -> Path:
    """Training images of a step's classes, and the names of all classes seen."""
    return TASKS / str(step) / "train"


def test_images(step: int) -> Path:
    """Test images of all classes seen at a step, and their names."""
    return TASKS / str(step) / "test"


def checkpoint(step: int) -> Path:
    """Checkpoint directory after a step; step 0 is the empty network."""
    return CHECKPOINTS / str(step)


def memory(step: int) -> Path:
    """Exemplars after a step; step 0 is the empty memory."""
    return Path("data/memory") / str(step)


def training(step: int) -> Path:
    """Loss and accuracy per epoch."""
    return Path("metrics/training") / str(step)


def evaluation(step: int) -> Path:
    """After a step: test metrics, confusion matrix, predictions, pictures of mistakes."""
    return Path("metrics/steps") / str(step)


def outputs(step: int) -> list[Path]:
    """All that the stages of a step leave."""
    return [of(step) for of in (checkpoint, memory, training, evaluation)]


def steps_in(folder: Path) -> list[int]:
    """The steps with something in ``folder``, ascending; people and killed runs leave others, as "4_old"."""
    names = (path.name for path in folder.glob("*"))
    return sorted({int(name) for name in names if name.isdecimal() and name == str(int(name))})


def sealed(length: int) -> list[Path]:
    """The directories with a manifest that the stages of a chain of ``length`` steps leave."""
    found = [*(RAW / split for split in SPLITS), checkpoint(0), memory(0)]
    for step in range(1, length + 1):
        found += [train_images(step), test_images(step), *outputs(step)]
    return found
