"""`python -m tools.keywords`: writes the stub of the settings' keywords again, after an edit of a setting."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from der.estimator import choices
from der.settings import sections
from der.settings.experiment import Settings

KEYWORDS = Path(choices.__file__).with_name("keywords.pyi")


def describe_keywords() -> str:
    """Return the text of keywords.pyi, from which type checkers know the keywords of ``DERClassifier``."""
    lines = "\n".join(f"    {name}: {kind}" for name, kind in _list_types(Settings))
    return f'''"""The settings as keywords of the classifier; `python -m tools.keywords` writes this file."""

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
    KEYWORDS.write_text(describe_keywords(), encoding="utf-8")
