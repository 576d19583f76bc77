"""Where a run comes from: its images, the preset nearest to its parameters, the revision of the code."""

import hashlib
import json
from typing import Any

from msgspec.structs import asdict

from der.core.sealed import SealedDirectory
from der.data.splits import SPLITS
from der.pipeline.changes import compare, shorten
from der.pipeline.history import code_revision
from der.pipeline.paths import RAW
from der.pipeline.presets import PLACES, list_presets, load_preset
from der.report.page import Difference, Origin
from der.settings.experiment import Settings
from der.settings.section import to_values


def read_origin(settings: Settings) -> Origin:
    """The origin of the run with ``settings`` whose images lie in data/raw; raises UserError if none do."""
    parameters = shown_parameters(settings)
    preset, differences = nearest_preset(parameters)
    sealed = [SealedDirectory(RAW / split) for split in SPLITS]
    digests = "".join(one.digest for one in sealed)
    return Origin(
        source=settings.dataset.source,
        identity=hashlib.sha256(digests.encode()).hexdigest(),
        preset=preset,
        differences=differences,
        seed=settings.train.seed,
        revision=code_revision(),
    )


def nearest_preset(parameters: dict[str, Any]) -> tuple[str, list[Difference]]:
    """The preset from which the fewest of ``parameters`` differ, the first of equal ones, and these."""
    presets = {name: json.loads(json.dumps(load_preset(name))) for name in list_presets()}
    changes = {name: list(compare(values, parameters)) for name, values in presets.items()}
    nearest = min(changes, key=lambda name: len(changes[name]))
    return nearest, [Difference(one.key, shorten(one.new), shorten(one.old)) for one in changes[nearest]]


def shown_parameters(settings: Settings) -> dict[str, dict[str, Any]]:
    """All parameters but places on someone's machine."""
    sections = to_values(settings) | {"network": asdict(settings.network)}  # its defaults, too
    for place in PLACES:
        section, _, name = place.partition(".")
        del sections[section][name]
    return sections
