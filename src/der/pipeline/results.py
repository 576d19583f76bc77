"""The results that a run is compared to: published ones of its protocol, and recorded joint training."""

import json
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from der.core.files import read_json
from der.pipeline.inputs import RunImages
from der.pipeline.presets import load_preset
from der.settings.sections import ProtocolSettings
from der.summary.series import Curve
from der.summary.verdict import Reference

RESULTS = Path("results")
PUBLISHED = RESULTS / "published.json"
JOINT = "joint"  # the preset of the upper bound
KINDS = {"unpruned": "without pruning", "pruned": "with pruning"}


class Published(NamedTuple):
    """A published result, of one preset or of several that share it."""

    name: str
    source: str  # in full
    results: Any  # average_top1, last_top1 and perhaps top1, in percent


def published_curves(images: RunImages, protocol: ProtocolSettings) -> list[Curve]:
    """Return the published curves of presets with these images and this protocol; see ``find_published``."""
    return [
        make_curve(
            one.name, one.source, protocol.first_classes or 0, protocol.later_classes, one.results["top1"]
        )
        for one in find_published(images, protocol)
        if "top1" in one.results
    ]


def published_references(images: RunImages, protocol: ProtocolSettings) -> list[Reference]:
    """Return the same results as averages and ends, those without a curve among them."""
    return [
        Reference(f"published: {one.name}", one.source, one.results["average_top1"], one.results["last_top1"])
        for one in find_published(images, protocol)
    ]


def find_published(images: RunImages, protocol: ProtocolSettings) -> list[Published]:
    """Find the published results of presets with these images and this protocol.

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
        own = preset["protocol"]
        same = (own["first_classes"], own["later_classes"]) == (
            protocol.first_classes,
            protocol.later_classes,
        )
        if same and images.are_those_of(preset):
            for kind, results in kinds.items():
                shared.setdefault((kind, json.dumps(results)), []).append(name)
    found = []
    for (kind, text), presets in shared.items():
        results = json.loads(text)
        name = f"{' and '.join(presets)}, {KINDS[kind]} ({results['source']})"
        found.append(Published(name, content["sources"][results["source"]], results))
    return found


def make_curve(name: str, source: str, first: int, later: int, top1: list[float]) -> Curve:
    """Make the curve of a protocol with ``first`` classes at step 1 and ``later`` at each one after it."""
    return Curve(name, source, [first + later * index for index in range(len(top1))], top1)


def joint_accuracy(images: RunImages, classes: int) -> float | None:
    """Return the mean top-1 of recorded runs that learned these images' classes at once; None if none did.

    None, too, for a run that learned but some of them: ``classes`` is how many.
    """
    records = [read_json(path) for path in sorted(RESULTS.glob(f"{JOINT}-*.json"))]
    if not records or classes != len(images.classes) or not images.are_those_of(load_preset(JOINT)):
        return None
    return float(mean(record["metrics"]["last_top1"] for record in records))
