"""Reads params.yaml for a stage, keeps the side of images that stage check found, and compares values."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from ruamel.yaml import YAML

from der.core.errors import DamageError, UserError, naming
from der.core.files import atomic_file
from der.core.sealed import read_sealed, write_sealed
from der.pipeline.paths import INPUT, PARAMS
from der.settings import yaml
from der.settings.parsing import parse, require_keys
from der.settings.sections import DatasetSettings, Section

S = TypeVar("S", bound=Section)

FIRST = 3  # entries of a long list that are shown
SHOWN, SHOWN_INSIDE = 60, 30  # characters of a value, and of each in a list


def load_section(kind: type[S], *keys: str) -> S:
    """Read the section of params.yaml at the path ``keys``; raises UserError that names the wrong key."""
    content: Any = read_params()
    return parse_section(kind, value_at(content, ".".join(keys)) if keys else content, PARAMS, *keys)


def parse_section(kind: type[S], content: Any, path: Path, *keys: str) -> S:
    """Check ``content``, which the file ``path`` has at the path ``keys``, and make it a section.

    Raises UserError also for a missing key that has a default: DVC knows no defaults and would fail.
    """
    where = ".".join(keys)
    with naming(path):
        section = parse(kind, content, where)
        require_keys(section, content, where)
    return section


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read all values of params.yaml as DVC does; raises UserError if it holds none."""
    content = yaml.parse_yaml(read_text(path), path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys and values; restore it with `git checkout {path}`")
    return content


def read_text(path: Path = PARAMS) -> str:
    """Read the text of params.yaml; raises UserError if that fails."""
    return yaml.read_text(path, "run from the repository's root")


def write_text(text: str) -> None:
    """Replace params.yaml by ``text``."""
    with atomic_file(PARAMS) as partial:
        partial.write_text(text, encoding="utf-8")


# Stage check writes the backbone's image side to data/input.json. download depends on that file, not on the
# backbone's name, so another backbone with the same side does not decode the images again.


def write_side(side: int | None) -> None:
    """Write the backbone's image side, None if params.yaml sets one; an unchanged file is not touched."""
    if not holds_side(side):
        write_sealed(INPUT, {"image_side": side})


def holds_side(side: int | None) -> bool:
    """Return whether data/input.json is whole and holds that side."""
    try:
        return read_side() == side
    except DamageError:
        return False


def read_side() -> int | None:
    """Read the side that stage check wrote; raises DamageError if the file is missing or damaged."""
    side: int | None = read_sealed(INPUT)["image_side"]
    return side


def with_side(settings: DatasetSettings) -> DatasetSettings:
    """Replace an ``image_side`` of null by the backbone's; raises UserError if that is not known."""
    if settings.image_side is not None:
        return settings
    side = read_side()
    if side is None:
        raise UserError(f"{INPUT}: holds no side; run `dvc repro`, without --single-item")
    return replace(settings, image_side=side)


class Change(NamedTuple):
    """A value of params.yaml, before and after."""

    key: str  # dotted path
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {shorten(self.old)} -> {shorten(self.new)}"


def compare(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """Yield every value that differs between two nested dictionaries; ``key`` is their own path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from compare(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield Change(key, old, new)


def value_at(content: Any, key: str) -> Any:
    """Return the value at a dotted path of nested dictionaries, or None."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def shorten(value: Any, longest: int = SHOWN) -> str:
    """Write a value as YAML in one line; a long list is cut to its first entries and its length."""
    if not isinstance(value, list) or len(one_line(value)) <= longest:
        return one_line(value)
    entries = [
        shorten(one, SHOWN_INSIDE) if isinstance(one, list) else one_line([one])[1:-1]
        for one in value[:FIRST]
    ]
    return f"[{', '.join(entries)}{f', ... {len(value)} in all' if len(value) > FIRST else ''}]"


def one_line(value: Any) -> str:
    """Write a value as YAML in one line."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = 2**31  # no line is longer
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")
