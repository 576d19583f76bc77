"""The settings of a whole experiment, read from a file like params.yaml or from a preset.

A preset is a file in der/presets. Every one but digits names another as its ``base`` and holds only what
differs from it. digits holds every value, and the default paths, which are in no preset.
"""

import difflib
import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from der.core.errors import UserError, naming
from der.settings import parsing, sections

DIRECTORY = Path(__file__).resolve().parent.parent / "presets"
DEFAULT = "digits"  # the preset that holds every value, with its comments
ORDERS = "class_orders"  # below the directory of presets: lists of CIFAR-100's class names
PLACES = ("path", "downloads")  # of section dataset


class Settings(sections.Section, frozen=True):
    """The whole of params.yaml."""

    dataset: sections.DatasetSettings
    protocol: sections.ProtocolSettings
    network: sections.NetworkSettings
    train: sections.TrainSettings
    memory: sections.MemorySettings
    evaluate: sections.EvaluateSettings
    compress: sections.CompressSettings = sections.CompressSettings()

    def __post_init__(self) -> None:
        distilled = self.train.incremental.distillation != sections.NO_DISTILLATION
        if distilled and not self.network.grows:
            raise UserError(
                "train.incremental.distillation: a network that does not grow keeps no earlier extractor to "
                "learn from; write 0.0 for both, or a network that grows"
            )


def read_settings(path: str | Path) -> Settings:
    """Read settings from a file like params.yaml; raises UserError, which begins with the file's name."""
    file = Path(path)
    content = parsing.parse_yaml(parsing.read_text(file, "give a file of settings"), file)
    with naming(file):
        return parsing.parse(Settings, content)


def preset(name: str) -> Settings:
    """Read the settings of preset ``name`` from the package; raises UserError if there is no such preset."""
    return parsing.parse(Settings, read_preset(name, places=True))


def read_preset(name: str, directory: Path = DIRECTORY, *, places: bool = False, forms: bool = False) -> Any:
    """Read all values of a preset, paths and the forms of numbers only if asked for; orders become lists."""
    texts = [_read(directory, name, "preset")]
    while base := _parse(texts[0]).get("base"):
        texts.insert(0, _read(directory, base, "preset"))
    merged = _merge(*texts)
    values = deepcopy(merged) if forms else json.loads(json.dumps(merged))  # which takes a tenth of the time
    order = values["protocol"]["class_order"]
    if isinstance(order, str) and order != "alphabetical":
        values["protocol"]["class_order"] = read_order(order, directory)
    for place in () if places else PLACES:
        values["dataset"].pop(place, None)
    return values


@cache
def _merge(*texts: str) -> Any:
    """Overlay the values of the texts, later over earlier; callers must not change the result."""
    whole: Any = {}
    for text in texts:
        parsing.overlay(whole, deepcopy(_parse(text)))
    whole.pop("base", None)
    return whole


def read_order(name: str, directory: Path = DIRECTORY) -> list[str]:
    """Read a named list of CIFAR-100's classes; raises UserError if there is no such list."""
    return [*_parse(_read(directory / ORDERS, name, "class order"))]


def _read(directory: Path, name: str, what: str) -> str:
    names = list_names(directory)
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
        raise UserError(f"{name}: no {what} of that name; {hint}")
    return (directory / f"{name}.yaml").read_text(encoding="utf-8")


@cache
def _parse(text: str) -> Any:
    """Parse and cache: it takes 4 to 10 ms, and a page reads all presets. Callers must not change it."""
    return parsing.load_document(text)


def list_names(directory: Path = DIRECTORY) -> list[str]:
    """List the names of the YAML files in ``directory``; numbers in them sort by value."""

    def key(name: str) -> list[int | str]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return sorted((path.stem for path in directory.glob("*.yaml")), key=key)
