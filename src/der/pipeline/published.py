"""Published results, and which of them have the protocol of a run."""

import json
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from der.core.serialization import read_json
from der.pipeline.images import RunImages
from der.pipeline.presets import load_preset
from der.settings.protocol import ProtocolSettings
from der.summary.series import Curve
from der.summary.verdict import Reference

RESULTS = Path("results")
PUBLISHED = RESULTS / "published.json"
JOINT = "joint"  # the preset of the upper bound
KINDS = {"unpruned": "without pruning", "pruned": "with pruning"}
PAPER = "authors"  # source of the paper's curves


class Published(NamedTuple):
    """A published result, of one preset or of several that share it."""

    name: str
    source: str  # in full
    results: Any  # average_top1, last_top1 and perhaps top1, in percent


def published_curves(images: RunImages, protocol: ProtocolSettings) -> list[Curve]:
    """Published curves of presets with these images and this protocol; see ``find_published``."""
    first, later = protocol.first_classes or 0, protocol.later_classes
    return [
        Curve(
            name=one.name,
            source=one.source,
            classes=[first + later * index for index in range(len(one.results["top1"]))],
            top1=list(one.results["top1"]),
        )
        for one in find_published(images, protocol)
        if "top1" in one.results
    ]


def published_references(images: RunImages, protocol: ProtocolSettings) -> list[Reference]:
    """The same results as averages and ends, those without a curve among them."""
    return [
        Reference(f"published: {one.name}", one.source, one.results["average_top1"], one.results["last_top1"])
        for one in find_published(images, protocol)
    ]


def find_published(images: RunImages, protocol: ProtocolSettings) -> list[Published]:
    """Published results of presets with these images and this protocol.

    None for a protocol that names the classes of its steps, or has one step of all classes there are. Presets
    that share a result are named together.
    Raises UserError if the file cannot be read or names no preset.
    """
    if protocol.steps is not None or protocol.first_classes is None:
        return []
    content = read_json(PUBLISHED)
    shared: dict[tuple[str, str], list[str]] = {}
    for name, kinds in content["presets"].items():
        preset = load_preset(name)
        if _has_protocol(preset, protocol) and images.are_those_of(preset):
            for kind, results in kinds.items():
                shared.setdefault((kind, json.dumps(results)), []).append(name)
    found = []
    for (kind, text), presets in shared.items():
        results = json.loads(text)
        name = f"{' and '.join(presets)}, {KINDS[kind]} ({results['source']})"
        found.append(Published(name, content["sources"][results["source"]], results))
    return found


def _has_protocol(preset: Any, protocol: ProtocolSettings) -> bool:
    own = preset["protocol"]
    return (own["first_classes"], own["later_classes"]) == (protocol.first_classes, protocol.later_classes)


def joint_accuracy(images: RunImages, classes: int) -> float | None:
    """Top-1 of recorded runs that learned these images' classes at once, their mean; None if none is.

    So it is, too, for a run that learned but some of them: ``classes`` is how many.
    """
    records = [read_json(path) for path in sorted(RESULTS.glob(f"{JOINT}-*.json"))]
    if not records or classes != len(images.classes) or not images.are_those_of(load_preset(JOINT)):
        return None
    return float(mean(record["metrics"]["last_top1"] for record in records))


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
