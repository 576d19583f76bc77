"""`python -m tools.settings`: after an edit of a setting or of a registry, writes again what describes them.

That are params.schema.json, for editors, and the stub of the settings' keywords, for type checkers.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from der.core.files import write_json
from der.estimator import choices
from der.settings import parsing, sections
from der.settings.experiment import Settings

KEYWORDS = Path(choices.__file__).with_name("keywords.pyi")
SCHEMA = Path("params.schema.json")
DESCRIPTIONS = Path(sections.__file__).with_name("descriptions.yaml")  # of settings, by section
USER_DEFINED = r"^[\w.]+:\w+$"  # module:function
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schema() -> dict[str, Any]:
    """Make the JSON schema: types, bounds and descriptions of the sections, names in the registries."""
    schema = msgspec.json.schema(Settings)
    texts = parsing.parse_yaml(DESCRIPTIONS.read_text(encoding="utf-8"), DESCRIPTIONS)
    for kind, section in schema["$defs"].items():
        # msgspec and Python differ by version
        section["description"] = inspect.cleandoc(section["description"])
        section["required"] = list(section["properties"])  # see complete_params
        for name, one in section["properties"].items():
            one.pop("default", None)
            ours = {key: one.pop(key) for key in ("uniqueItems",) if key in one}  # stays before what it means
            said = {"description": texts[kind][name]} if name in texts.get(kind, {}) else {}
            section["properties"][name] = ours | said | one
    for path, choice in choices.CHOICES.items():
        families = [{"pattern": rf"^{one}[\w.-]+$"} for one in choice.registry if one.endswith(":")]
        named = [one for one in choice.registry if not one.endswith(":")]
        place = schema
        for key in path.split("."):
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]["properties"][key]
        place["anyOf"] = [{"enum": named}, *families, {"pattern": USER_DEFINED}]
    return {"$schema": DIALECT, **schema}


def describe_keywords() -> str:
    """Return the text of keywords.pyi, from which type checkers know the keywords of ``DERClassifier``."""
    lines = "\n".join(f"    {name}: {kind}" for name, kind in _list_types(Settings))
    return f'''"""The settings as keywords of the classifier; `python -m tools.settings` writes this file."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

class Changes(TypedDict, total=False):
    """Values of the settings by keyword, with two underscores for each dot."""

{lines}
'''


def _list_types(section: type[sections.Section], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield all keys of a section, as ``choices.list_values`` does, each with its type as text."""
    for name, hint in get_type_hints(section).items():
        if name in choices.INERT:
            if choices.SIDE.startswith(name):
                yield choices.SIDE, "int | None"
            continue
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        yield prefix + name, " | ".join(map(_name_type, options))
        for one in options:
            if _is_section(one):
                yield from _list_types(one, prefix + name + choices.SEPARATOR)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, sections.Section)


def _name_type(kind: Any) -> str:
    if _is_section(kind):
        return "Mapping[str, Any]"
    text = "None" if kind is NoneType else str(kind) if get_args(kind) else kind.__name__
    return text.removeprefix("typing.").replace("'", '"').replace("list", "Sequence")


if __name__ == "__main__":
    write_json(SCHEMA, make_schema())
    KEYWORDS.write_text(describe_keywords(), encoding="utf-8")
