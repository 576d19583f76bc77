"""Published results, and which of them have the protocol of a run."""

from pathlib import Path
from typing import Any

from der.common.serialization import read_json
from der.project.presets import load_preset
from der.settings.experiment import Settings
from der.summary.charts.accuracy import Curve

PUBLISHED = Path("results/published.json")
KINDS = {"unpruned": "without pruning", "pruned": "with pruning"}
PAPER = "authors"  # source of the paper's curves


def published_curves(settings: Settings) -> list[Curve]:
    """Published curves of presets with the data set and the protocol of ``settings``.

    None for a protocol that names the classes of its steps. Presets that share a curve are named together.
    Raises UserError if the file cannot be read or names no preset.
    """
    first, later = settings.protocol.first_classes, settings.protocol.later_classes
    if settings.protocol.steps is not None or first is None:
        return []
    content = read_json(PUBLISHED)
    shared: dict[tuple[str, str, tuple[float, ...]], list[str]] = {}
    for preset, results in content["presets"].items():
        kinds = [kind for kind in results if "top1" in results[kind]]
        if kinds and _same_protocol(settings, load_preset(preset)):
            for kind in kinds:
                key = (kind, results[kind]["source"], tuple(results[kind]["top1"]))
                shared.setdefault(key, []).append(preset)
    return [
        Curve(
            name=f"{' and '.join(presets)}, {KINDS[kind]} ({source})",
            source=content["sources"][source],
            classes=[first + later * index for index in range(len(top1))],
            top1=list(top1),
        )
        for (kind, source, top1), presets in shared.items()
    ]


def _same_protocol(settings: Settings, preset: Any) -> bool:
    own = (
        settings.dataset.source,
        settings.protocol.first_classes,
        settings.protocol.later_classes,
    )
    protocol = preset["protocol"]
    return own == (preset["dataset"]["source"], protocol["first_classes"], protocol["later_classes"])


def curves_beside(name: str) -> list[Curve]:
    """The curves to see a run of preset ``name`` beside: its own, and the paper's of the nearest protocol.

    With or without pruning, as the preset has it. Curves are named after the preset that they belong to.
    Raises UserError if the file cannot be read or names no preset.
    """
    content, preset = read_json(PUBLISHED), load_preset(name)
    kind = "unpruned" if preset["train"]["masks"] is None else "pruned"
    curves = {
        other: results[kind]
        for other, results in content["presets"].items()
        if "top1" in results.get(kind, {}) and _same_images(preset, load_preset(other))
    }
    chosen = [name] if name in curves else []
    if not chosen or curves[name]["source"] != PAPER:
        distances = {
            other: _distance(preset, load_preset(other))
            for other, results in curves.items()
            if results["source"] == PAPER
        }
        chosen += sorted(distances, key=distances.__getitem__)[:1]
    return [_curve(one, curves[one], content["sources"]) for one in chosen]


def _curve(name: str, results: Any, sources: Any) -> Curve:
    protocol = load_preset(name)["protocol"]
    first, later = protocol["first_classes"], protocol["later_classes"]
    classes = [first + later * index for index in range(len(results["top1"]))]
    return Curve(name, sources[results["source"]], classes, list(results["top1"]))


def _same_images(one: Any, other: Any) -> bool:
    keys = ("source", "image_side", "channels")
    return all(one["dataset"][key] == other["dataset"][key] for key in keys)


def _distance(one: Any, other: Any) -> int:
    """How far two protocols are apart, in classes at the first step and at each later one."""
    keys = ("first_classes", "later_classes")
    return sum(abs(one["protocol"][key] - other["protocol"][key]) for key in keys)
