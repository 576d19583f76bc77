"""params.yaml as a stage reads it, the side of images that stage check found, and how values differ."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from ruamel.yaml import YAML

from der.core.atomic import atomic_file
from der.core.errors import DamageError, UserError, naming
from der.core.sealed import read_sealed, write_sealed
from der.pipeline.paths import INPUT, PARAMS
from der.settings import yaml
from der.settings.parsing import parse, require_keys
from der.settings.sections import DatasetSettings, Section

S = TypeVar("S", bound=Section)

FIRST = 3  # entries of a long list that are shown
SHOWN, SHOWN_INSIDE = 60, 30  # characters of a value, and of each in a list


def load_section(kind: type[S], *keys: str) -> S:
    """The section of params.yaml at the path ``keys``; raises UserError with one sentence, the path in it."""
    content: Any = read_params()
    return parse_section(kind, value_at(content, ".".join(keys)) if keys else content, PARAMS, *keys)


def parse_section(kind: type[S], content: Any, path: Path, *keys: str) -> S:
    """``content``, values of the file ``path`` at the path ``keys``, as a section; raises UserError.

    No key may be missing, also of those with defaults: DVC, which knows none, ends without it.
    """
    where = ".".join(keys)
    with naming(path):
        section = parse(kind, content, where)
        require_keys(section, content, where)
    return section


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """The values of params.yaml as DVC sees them; raises UserError if there are none."""
    content = yaml.parse_yaml(read_text(path), path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys and values; restore it with `git checkout {path}`")
    return content


def read_text(path: Path = PARAMS) -> str:
    """The text of params.yaml; raises UserError if there is none."""
    return yaml.read_text(path, "run from the repository's root")


def write_text(text: str) -> None:
    """Make ``text`` the whole of params.yaml."""
    with atomic_file(PARAMS) as partial:
        partial.write_text(text, encoding="utf-8")


# data/input.json holds the side of images that a backbone asks for, as stage check found it. It is apart from
# params.yaml, so that another backbone of the same side has no image decoded again.


def write_side(side: int | None) -> None:
    """Write the side that the backbone asks for, None where params.yaml has one; the same is left alone."""
    if not holds_side(side):
        write_sealed(INPUT, {"image_side": side})


def holds_side(side: int | None) -> bool:
    """Whether data/input.json has been written for that side, and is whole."""
    try:
        return read_side() == side
    except DamageError:
        return False


def read_side() -> int | None:
    """The side that stage check wrote; raises DamageError if data/input.json is missing or damaged."""
    side: int | None = read_sealed(INPUT)["image_side"]
    return side


def with_side(settings: DatasetSettings) -> DatasetSettings:
    """``settings`` with the backbone's side in place of null; raises UserError if it is not known."""
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
    """Every value that differs between two nested dictionaries; ``key`` is the path to them."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from compare(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield Change(key, old, new)


def value_at(content: Any, key: str) -> Any:
    """The value at a dotted path of nested dictionaries; None if there is none."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def shorten(value: Any, longest: int = SHOWN) -> str:
    """A value as YAML in one line; long lists, and those in them, by their first entries and their length."""
    if not isinstance(value, list) or len(one_line(value)) <= longest:
        return one_line(value)
    entries = [
        shorten(one, SHOWN_INSIDE) if isinstance(one, list) else one_line([one])[1:-1]
        for one in value[:FIRST]
    ]
    return f"[{', '.join(entries)}{f', ... {len(value)} in all' if len(value) > FIRST else ''}]"


def one_line(value: Any) -> str:
    """A value as YAML in one line."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = 2**31  # no line is longer
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")
