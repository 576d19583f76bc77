"""Writing a preset into params.yaml, and what `dvc repro` then runs."""

from pathlib import Path

from der.core.errors import UserError, naming
from der.core.yaml_text import parse_yaml
from der.estimator.choices import check_choices
from der.pipeline.chain import CHAIN, chain_length
from der.pipeline.changes import compare
from der.pipeline.dvc import stages_to_run
from der.pipeline.editing import put_values
from der.pipeline.params import parse_section, read_text, write_text
from der.pipeline.paths import GRAPH, PARAMS
from der.pipeline.planning import planned_steps
from der.pipeline.presets import load_preset
from der.pipeline.resizing import resize
from der.pipeline.settings import load_settings
from der.settings.experiment import Settings


def apply_preset(name: str, class_order: str | None = None) -> str:
    """Write preset ``name`` into params.yaml; returns what changed and what `dvc repro` will recompute."""
    old, length = read_text(), chain_length()
    new = put_values(old, load_preset(name, class_order))
    values = parse_yaml(new, PARAMS)
    settings = parse_section(Settings, values, PARAMS)
    with naming(PARAMS):
        check_choices(settings)
    changes = list(compare(parse_yaml(old, PARAMS), values))
    steps = planned_steps(settings)
    fitted = fit_chain(length, len(steps) if steps else length)
    write_text(new)
    lines = [f"preset {name}: {len(changes)} values of {PARAMS} changed", *(f"  {one}" for one in changes)]
    lines += fitted
    if wanted := stages_to_run(values):
        lines.append(f"`dvc repro` runs {', '.join(wanted)}, and what follows")
    lines += describe_missing_images(settings.dataset.path)
    return "\n".join(lines)


def describe_missing_images(path: str) -> list[str]:
    """A sentence if dataset.path names nothing: DVC then ends before any stage."""
    if path and Path(path).exists():
        return []
    return [
        f"dataset.path: there is no {path or 'path without a name'}, and DVC looks for it whatever the "
        "source; name what exists, data/images for one"
    ]


def fit_chain(length: int, steps: int) -> list[str]:
    """Make chain.yaml, of ``length`` steps, as long as the protocol; returns what to print.

    Before the protocol is written: raises UserError, and changes nothing, as ``resize`` does.
    """
    if steps == length:
        return []
    resize(steps)
    return [f"{CHAIN}: {length} -> {steps} steps"]


def resize_chain(length: int | None) -> int:
    """Make chain.yaml hold ``length`` steps, by default those of params.yaml; returns how many it has.

    Raises UserError for fewer than the protocol has, and as ``resize`` does.
    """
    if not GRAPH.is_file():
        raise UserError(f"{GRAPH}: not found; run from the repository's root")
    steps = planned_steps(load_settings())
    if length is None and steps is None:
        raise UserError(
            "protocol: how many steps it has depends on the images; write their number, `der chain N`"
        )
    least = len(steps or [])
    if length is not None and length < least:
        raise UserError(
            f"protocol: {least} steps, which {length} would cut off; shorten it in {PARAMS} first"
        )
    length = least if length is None else length
    resize(length)
    return length
