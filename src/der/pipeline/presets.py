"""Reads params.yaml; lists and writes presets, those of the clone around, else of the installed package."""

from pathlib import Path
from typing import Any

from der.pipeline.project import PARAMS, parse_section, read_params
from der.settings import experiment, parsing

PRESETS = Path("src/der/presets")
ORDERS = PRESETS / experiment.ORDERS
PLACES = tuple(f"dataset.{name}" for name in experiment.PLACES)  # paths on the user's machine, in no preset
# What one preset of the user's photos leaves to another, if both have the same value of a second key.
OF_PHOTOS = {"protocol.steps": "protocol.class_order", "network.weights": "network.backbone"}
TOP = """\
# yaml-language-server: $schema=params.schema.json
# Every knob of the pipeline. Edit, then `dvc repro`: only what the edit reaches is recomputed.
"""


def load_settings(path: Path = PARAMS) -> experiment.Settings:
    """Read and check all sections, except names of plug-ins; raises UserError with one sentence."""
    return parse_section(experiment.Settings, read_params(path), path)


def parse_settings(text: str) -> experiment.Settings:
    """Check a text of params.yaml like ``load_settings``."""
    return parse_section(experiment.Settings, parsing.parse_yaml(text, PARAMS), PARAMS)


def write_preset(name: str, kept: dict[str, Any], class_order: str | None = None) -> str:
    """Write a preset as text of params.yaml, with comments; ``kept`` has other values, by key."""
    values = load_preset(name, class_order, forms=True)
    for key, value in kept.items():
        section, _, own = key.partition(".")
        values[section][own] = value
    template = (_directory() / f"{experiment.DEFAULT}.yaml").read_text(encoding="utf-8").partition("\n")[2]
    return parsing.put_values(TOP + template, values)


def load_preset(name: str, class_order: str | None = None, *, forms: bool = False) -> Any:
    """Read all values of a preset, nested as in params.yaml, with another class order if one is named."""
    values = experiment.read_preset(name, _directory(), forms=forms)
    if class_order is not None:
        values["protocol"]["class_order"] = experiment.read_order(class_order, _directory())
    return values


def list_presets() -> list[str]:
    return experiment.list_names(_directory())


def list_orders() -> list[str]:
    return experiment.list_names(_directory() / experiment.ORDERS)


def describe_preset(name: str) -> str:
    return (_directory() / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def describe_presets() -> str:
    """Describe every preset in one line, then list the class orders."""
    names = list_presets()
    width = max(map(len, names))
    orders = f"\n--class-order, for CIFAR-100: {', '.join(list_orders())}"
    return "\n".join(f"{name:{width}}  {describe_preset(name)}" for name in names) + orders


def _directory() -> Path:
    return PRESETS if PRESETS.is_dir() else experiment.DIRECTORY
