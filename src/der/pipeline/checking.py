"""What params.yaml and chain.yaml must be for a run, as a whole: every fault is one sentence."""

import os
from collections.abc import Callable
from pathlib import Path

from der.core.errors import UserError, naming
from der.core.text import printable
from der.core.yaml_text import parse_written
from der.data.sources.registry import find_source
from der.estimator.choices import backbone_side, check_channels, check_choices
from der.model.backbones import COLOURS
from der.pipeline.adding import describe_move
from der.pipeline.applying import describe_missing_images
from der.pipeline.chain import check_chain
from der.pipeline.curves import curves_root
from der.pipeline.environment import check_work
from der.pipeline.graph import read_stages
from der.pipeline.input_side import write_side
from der.pipeline.outputs import list_outputs
from der.pipeline.params import read_text
from der.pipeline.paths import PARAMS, RAW
from der.pipeline.planning import planned_steps
from der.pipeline.settings import load_settings
from der.pipeline.weights import check_weights
from der.settings.experiment import Settings


def check_project(warn: Callable[[str], None]) -> None:
    """Raise UserError for parameters or a chain that no run can have; ``warn`` hears what may surprise.

    Writes the side of images, where they follow the backbone.
    """
    settings = load_settings()
    parse_written(read_text(), PARAMS)  # DVC's reader is not as lenient everywhere
    curves_root()  # here, not with a training's output gone
    check_work()
    with naming(PARAMS):
        check_choices(settings)
        advice = f"write dataset.channels: {COLOURS}, or network.weights: null"
        check_channels(settings.network, settings.dataset.channels, advice)
        side = backbone_side(settings)
        check_side(settings, side)
    find_source(settings.dataset).check(settings.dataset, RAW)  # download would, with its output gone
    steps = planned_steps(settings)
    move = describe_move(settings, steps) if steps is not None else None
    if move:
        warn(printable(f"warning: {move}"))
    check_chain(len(steps or []), "der add" if move else None)
    check_weights(settings.network)
    write_side(side)


def check_side(settings: Settings, followed: int | None) -> None:
    """Raise UserError for a model of timm that cannot take images of their side; ``followed`` is its own."""
    if settings.network.backbone.startswith("timm:"):
        # Only now: torch costs seconds, which the name of the backbone has cost already.
        from der.model.network import try_side

        try_side(settings.network, followed or settings.dataset.side, settings.dataset.channels)


def check_images() -> None:
    """Raise UserError for a dataset.path with which DVC ends before any stage: of nothing, or of results."""
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
