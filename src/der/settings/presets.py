"""Named experiments: the files beside the code, in der/presets, as settings.

Every preset but digits names another as its ``base`` and holds only what differs from it; digits holds
every value, so that any preset sets all of them. Only places on the user's machine are in no preset.
"""

import difflib
import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from der.core.errors import UserError
from der.core.yaml_document import is_section, yaml_editor
from der.settings.experiment import Settings
from der.settings.parsing import parse

DIRECTORY = Path(__file__).resolve().parent.parent / "presets"
ORDERS = "class_orders"  # below that: lists of CIFAR-100's class names
PLACES = {"path": "data/images", "downloads": "~/.cache/der"}  # of section dataset, as a new project has them


def preset(name: str) -> Settings:
    """The settings of preset ``name``, read from the package alone; raises UserError for a name of none."""
    values = json.loads(json.dumps(read_preset(name)))  # numbers without the forms that they are written in
    values["dataset"] |= PLACES
    return parse(Settings, values)


def read_preset(name: str, directory: Path = DIRECTORY) -> Any:
    """All values of a preset but places, nested as in a project's parameters; a class order is a list.

    Raises UserError for a name of no preset.
    """
    values = deepcopy(_merge(*_read_texts(name, directory)))
    order = values["protocol"]["class_order"]
    if isinstance(order, str) and order != "alphabetical":
        values["protocol"]["class_order"] = read_order(order, directory)
    return values


def _read_texts(name: str, directory: Path) -> list[str]:
    """The preset's file and those of its bases, the one that has none first."""
    text = _read(directory, name, "preset")
    base = _parse(text).get("base")
    return [*([] if base is None else _read_texts(base, directory)), text]


@cache
def _merge(*texts: str) -> Any:
    """The values of every text over those of the one before; not to be changed."""
    whole: Any = deepcopy(_parse(texts[0]))
    for text in texts[1:]:
        overlay(whole, deepcopy(_parse(text)))
    whole.pop("base", None)
    return whole


def overlay(target: Any, values: Any) -> Any:
    """Set in ``target`` every value of ``values``; mappings in one line, {...}, are values as a whole."""
    for key, value in values.items():
        inner = target.get(key)
        if is_section(value) and isinstance(inner, dict):
            overlay(inner, value)
        else:
            target[key] = value
    return target


def read_order(name: str, directory: Path = DIRECTORY) -> CommentedSeq:
    """A named list of CIFAR-100's classes; raises UserError for a name of none."""
    order = CommentedSeq(_parse(_read(directory / ORDERS, name, "class order")))
    order.fa.set_flow_style()
    return order


def _read(directory: Path, name: str, what: str) -> str:
    names = list_names(directory)
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
        raise UserError(f"{name}: no {what} of that name; {hint}")
    return (directory / f"{name}.yaml").read_text(encoding="utf-8")


@cache
def _parse(text: str) -> Any:
    """Not to be changed; it takes 4 to 10 ms, and a page asks for all presets and their bases three times."""
    return yaml_editor().load(text)


def list_names(directory: Path = DIRECTORY) -> list[str]:
    """Names of the files in ``directory``, numbers in them by value."""
    names = [path.stem for path in directory.glob("*.yaml")]
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in _parts(name)])


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)
