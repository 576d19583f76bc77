"""The presets of the clone one stands in: values for params.yaml.

Read from its source, not from the package that runs, so that one may add to them. Only places on the user's
machine, ``dataset.path`` and ``dataset.downloads``, are in no preset and stay as they are.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from der.core.errors import UserError
from der.settings import presets

PRESETS = Path("src/der/presets")
ORDERS = PRESETS / presets.ORDERS
PLACES = tuple(f"dataset.{name}" for name in presets.PLACES)  # in no preset


def list_presets() -> list[str]:
    """Names of presets, numbers in them by value; raises UserError elsewhere than in a clone."""
    return presets.list_names(_directory())


def list_orders() -> list[str]:
    """Names of lists of CIFAR-100's classes; raises UserError elsewhere than in a clone."""
    return presets.list_names(_directory() / presets.ORDERS)


def _directory() -> Path:
    if not PRESETS.is_dir():
        raise UserError(f"{PRESETS}: not found; run from the repository's root")
    return PRESETS


def describe_preset(name: str) -> str:
    """The comment line at the top of a preset."""
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def load_preset(name: str, class_order: str | None = None) -> Any:
    """All values of a preset, nested as in params.yaml; ``class_order`` replaces its order of classes.

    Raises UserError for a name of no preset or order, or if the order is of another data set.
    """
    values = presets.read_preset(name, _directory())
    if class_order is None:
        return values
    if values["dataset"]["source"] != "cifar100":
        raise UserError(
            f"--class-order: {class_order} names the classes of CIFAR-100, but preset {name} teaches "
            f"{values['dataset']['source']}; leave it out"
        )
    values["protocol"]["class_order"] = load_order(class_order)
    return values


def load_order(name: str) -> CommentedSeq:
    """A list of class names from class_orders; raises UserError for a name of none."""
    return presets.read_order(name, _directory())


def describe_presets() -> str:
    """A line for every preset, then the class orders."""
    names = list_presets()
    width = max(map(len, names))
    orders = f"\n--class-order, for CIFAR-100: {', '.join(list_orders())}"
    return "\n".join(f"{name:{width}}  {describe_preset(name)}" for name in names) + orders
