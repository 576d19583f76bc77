"""The results that a run is compared to: published ones of its protocol, and recorded joint training."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

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


def published_curves(images: RunImages, protocol: ProtocolSettings) -> list[Curve]:
    """Return the published curves of presets with these images and this protocol."""
    first, later = protocol.first_classes or 0, protocol.later_classes
    return [
        make_curve(name, source, first, later, results["top1"])
        for name, source, results in _find_published(images, protocol)
        if "top1" in results
    ]


def published_references(images: RunImages, protocol: ProtocolSettings) -> list[Reference]:
    """Return the same results as averages and ends, those without a curve among them."""
    return [
        Reference(f"published: {name}", source, results["average_top1"], results["last_top1"])
        for name, source, results in _find_published(images, protocol)
    ]


def _find_published(images: RunImages, protocol: ProtocolSettings) -> Iterator[tuple[str, str, Any]]:
    """Name, source and numbers of each result; presets that share one are named together.

    None for a protocol that names the classes of its steps, or has one step of all classes there are.
    """
    if protocol.steps is not None or protocol.first_classes is None:
        return
    content = read_json(PUBLISHED)
    shared: dict[tuple[str, str], list[str]] = {}
    for name, kinds in content["presets"].items():
        preset = load_preset(name)
        sizes = [preset["protocol"][key] for key in ("first_classes", "later_classes")]
        if sizes == [protocol.first_classes, protocol.later_classes] and images.are_those_of(preset):
            for kind, results in kinds.items():
                shared.setdefault((kind, json.dumps(results)), []).append(name)
    for (kind, text), presets in shared.items():
        results = json.loads(text)
        name = f"{' and '.join(presets)}, {KINDS[kind]} ({results['source']})"
        yield name, content["sources"][results["source"]], results


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
