"""Published results, and which of them have the protocol of a run."""

from pathlib import Path
from typing import Any

from der.common.serialization import read_json
from der.project.presets import load_preset
from der.report.run import Curve
from der.settings.experiment import Settings

PUBLISHED = Path("results/published.json")
KINDS = {"unpruned": "without pruning", "pruned": "with pruning"}


def published_curves(settings: Settings) -> list[Curve]:
    """Published curves of presets with the data set and the protocol of ``settings``.

    None for a protocol that names the classes of its steps. Presets that share a curve are named together.
    Raises UserError if the file cannot be read or names no preset.
    """
    if settings.protocol.steps is not None:
        return []
    content = read_json(PUBLISHED)
    shared: dict[tuple[str, str, tuple[float, ...]], list[str]] = {}
    for preset, results in content["presets"].items():
        kinds = [kind for kind in results if "top1" in results[kind]]
        if kinds and _same_protocol(settings, load_preset(preset)):
            for kind in kinds:
                key = (kind, results[kind]["source"], tuple(results[kind]["top1"]))
                shared.setdefault(key, []).append(preset)
    first, later = settings.protocol.first_classes, settings.protocol.later_classes
    return [
        Curve(
            name=f"{' and '.join(presets)}, {KINDS[kind]} ({source})",
            source=content["sources"][source],
            classes=[first + later * number for number in range(len(top1))],
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
