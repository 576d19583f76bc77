"""params.schema.json: params.yaml as a JSON schema, by which editors complete and check it."""

from pathlib import Path
from typing import Any

import msgspec

from der.core.files import write_json
from der.core.registry import is_family
from der.estimator.choices import CHOICES
from der.settings.experiment import Settings

SCHEMA = Path("params.schema.json")
OWN_NAME = r"^[\w.]+:\w+$"  # module:function
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def write_schema() -> None:
    """Write the schema; after an edit of a setting or a registry, `der schema`."""
    write_json(SCHEMA, make_schema())


def make_schema() -> dict[str, Any]:
    """Types, bounds and descriptions as the sections declare them, choices as the registries name them."""
    schema = msgspec.json.schema(Settings)
    for section in schema["$defs"].values():
        _require_all(section)
    for path, choice in CHOICES.items():
        families = [{"pattern": rf"^{one}[\w.-]+$"} for one in choice.registry if is_family(one)]
        named = [one for one in choice.registry if not is_family(one)]
        _find(schema, path)["anyOf"] = [{"enum": named}, *families, {"pattern": OWN_NAME}]
    return {"$schema": DIALECT, **schema}


def _require_all(section: dict[str, Any]) -> None:
    """Have the schema of a section ask for every key: params.yaml has all, see ``parse_section``."""
    section["required"] = list(section["properties"])
    for key in section["properties"].values():
        key.pop("default", None)


def _find(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """What the schema says of the key at a dotted path."""
    place = schema
    for key in path.split("."):
        place = schema["$defs"][place["$ref"].rpartition("/")[2]]["properties"][key]
    return place
