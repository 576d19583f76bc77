"""Checks params.yaml and chain.yaml as a whole before a run, and makes the JSON schema for editors."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from der.core.errors import UserError, naming, printable
from der.core.registry import is_family
from der.data.sources.registry import find_source
from der.estimator.choices import CHOICES, backbone_side, check_channels, check_choices
from der.model.architecture import COLOURS
from der.pipeline.edits import describe_missing_images, describe_move, planned_steps
from der.pipeline.environment import check_work
from der.pipeline.params import write_side
from der.pipeline.paths import GRAPH, PARAMS, RAW, WEIGHTS, check_chain, list_outputs, read_stages
from der.pipeline.presets import load_settings
from der.pipeline.training import curves_root
from der.settings.experiment import Settings
from der.settings.sections import PRETRAINED, NetworkSettings

SCHEMA = Path("params.schema.json")
USER_DEFINED = r"^[\w.]+:\w+$"  # module:function
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def check_project(warn: Callable[[str], None]) -> None:
    """Raise UserError if a run with these parameters and this chain would fail; ``warn`` gets warnings.

    Writes the backbone's image side for stage download.
    """
    settings = load_settings()
    curves_root()  # here, not with a training's output gone
    check_work()
    with naming(PARAMS):
        check_choices(settings)
        advice = f"write dataset.channels: {COLOURS}, or network.weights: null"
        check_channels(settings.network, settings.dataset.channels, advice)
        side = backbone_side(settings)
        if settings.network.backbone.startswith("timm:"):  # does the model take the images?
            # Only now: torch costs seconds, which the name of the backbone has cost already.
            from der.model.network import try_side

            try_side(settings.network, side or settings.dataset.side, settings.dataset.channels)
    find_source(settings.dataset).check(settings.dataset, RAW)  # download would, with its output gone
    steps = planned_steps(settings)
    move = describe_move(settings, steps) if steps is not None else None
    if move:
        warn(printable(f"warning: {move}"))
    check_chain(len(steps or []), "der add" if move else None)
    check_weights(settings.network)
    write_side(side)


def check_weights(settings: NetworkSettings) -> None:
    """Raise UserError for a file of no such weights, or of which DVC would not see an edit."""
    if settings.weights in (None, PRETRAINED):
        return
    path = Path(settings.weights)
    if not path.is_file():
        raise UserError(
            f"{PARAMS}: network.weights: there is no file {path}; put one into {WEIGHTS} and write its path, "
            f"or {PRETRAINED}, or null"
        )
    watched = [Path(os.path.abspath(dep)) for dep in read_stages()["initialize"]["deps"]]
    if not any(Path(os.path.abspath(path)).is_relative_to(place) for place in watched):
        raise UserError(
            f"{PARAMS}: network.weights: DVC would not see an edit of {path}; put it, or a link to it, into "
            f"{WEIGHTS}, or add it to the deps of stage initialize in {GRAPH}: - {path}"
        )
    from der.model.weights import read_start  # only now: torch costs seconds

    with naming(PARAMS):
        read_start(settings, settings.weights)


def check_images() -> None:
    """Raise UserError if dataset.path does not exist or overlaps with outputs: DVC would fail at once."""
    path = load_settings().dataset.path
    for sentence in describe_missing_images(path):
        raise UserError(sentence)
    place = Path(os.path.abspath(path))
    for out in (out for stage in read_stages() for out in list_outputs(stage)):
        if place.is_relative_to(out.absolute()) or out.absolute().is_relative_to(place):
            raise UserError(
                f"dataset.path: {path} holds what stages write, {out}, or lies in it; name another place, "
                "data/images for one"
            )


def make_schema() -> dict[str, Any]:
    """Make the schema: types, bounds and descriptions of the sections, names of the registries."""
    schema = msgspec.json.schema(Settings)
    for section in schema["$defs"].values():
        # msgspec and Python differ by version
        section["description"] = inspect.cleandoc(section["description"])
        section["required"] = list(section["properties"])  # params.yaml has all keys, see parse_section
        for one in section["properties"].values():
            one.pop("default", None)
    for path, choice in CHOICES.items():
        families = [{"pattern": rf"^{one}[\w.-]+$"} for one in choice.registry if is_family(one)]
        named = [one for one in choice.registry if not is_family(one)]
        place = schema
        for key in path.split("."):
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]["properties"][key]
        place["anyOf"] = [{"enum": named}, *families, {"pattern": USER_DEFINED}]
    return {"$schema": DIALECT, **schema}
