"""presets/*.yaml: named experiments as values for params.yaml.

Every preset but digits names another as its ``base`` and holds only what differs from it; digits holds
every value, so that applying any preset sets all of them and leaves nothing of the one before. Only places
on the user's machine, ``dataset.path`` and ``dataset.downloads``, are in no preset and stay as they are.
"""

import difflib
import re
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from der.common.errors import UserError
from der.project.editing import is_section, yaml_editor

PRESETS = Path("presets")
ORDERS = PRESETS / "class_orders"  # lists of CIFAR-100's class names
PLACES = ("dataset.path", "dataset.downloads")  # in no preset


def list_names(directory: Path) -> list[str]:
    """Names of the files in ``directory``, numbers in them by value."""
    if not directory.is_dir():
        raise UserError(f"{directory}: not found; run from the repository's root")
    names = [path.stem for path in directory.glob("*.yaml")]
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in _parts(name)])


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)


def describe_preset(name: str) -> str:
    """The comment line at the top of a preset."""
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def load_preset(name: str, class_order: str | None = None) -> Any:
    """All values of a preset, nested as in params.yaml; ``class_order`` replaces its order of classes.

    Raises UserError for a name of no preset or order, or if the order is of another data set.
    """
    values = _load_with_bases(name)
    if class_order is not None and values["dataset"]["source"] != "cifar100":
        raise UserError(
            f"--class-order: {class_order} names the classes of CIFAR-100, but preset {name} teaches "
            f"{values['dataset']['source']}; leave it out"
        )
    order = class_order or values["protocol"]["class_order"]
    if isinstance(order, str) and order != "alphabetical":
        values["protocol"]["class_order"] = load_order(order)
    return values


def _load_with_bases(name: str) -> Any:
    values = _read(PRESETS, name, "preset")
    base = values.pop("base", None)
    return values if base is None else overlay(_load_with_bases(base), values)


def load_order(name: str) -> CommentedSeq:
    """A list of class names from presets/class_orders; raises UserError for a name of none."""
    order = CommentedSeq(_read(ORDERS, name, "class order"))
    order.fa.set_flow_style()
    return order


def overlay(target: Any, values: Any) -> Any:
    """Set in ``target`` every value of ``values``; mappings in one line, {...}, are values as a whole."""
    for key, value in values.items():
        inner = target.get(key)
        if is_section(value) and isinstance(inner, dict):
            overlay(inner, value)
        else:
            target[key] = value
    return target


def _read(directory: Path, name: str, what: str) -> Any:
    names = list_names(directory)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
        raise UserError(f"{name}: no {what} of that name; {hint}")
    return yaml_editor().load((directory / f"{name}.yaml").read_text(encoding="utf-8"))


def list_presets() -> str:
    """A line for every preset, then the class orders."""
    names = list_names(PRESETS)
    width = max(map(len, names))
    orders = f"\n--class-order, for CIFAR-100: {', '.join(list_names(ORDERS))}"
    return "\n".join(f"{name:{width}}  {describe_preset(name)}" for name in names) + orders
