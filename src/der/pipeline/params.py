"""params.yaml, read once, by the parser that DVC uses: its values, and the sections that a stage needs."""

from pathlib import Path
from typing import Any, TypeVar

from der.core.errors import UserError, naming
from der.core.files import atomic_file
from der.core.yaml_text import parse_yaml
from der.pipeline.paths import PARAMS
from der.settings.parsing import parse, require_keys
from der.settings.section import Section

S = TypeVar("S", bound=Section)


def load_section(kind: type[S], *keys: str) -> S:
    """The section of params.yaml at the path ``keys``; raises UserError with one sentence, the path in it."""
    content: Any = read_params()
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return parse_section(kind, content, PARAMS, *keys)


def parse_section(kind: type[S], content: Any, path: Path, *keys: str) -> S:
    """``content``, values of the file ``path`` at the path ``keys``, as a section; raises UserError.

    No key may be missing, also of those with defaults: DVC, which knows none, ends without it.
    """
    where = ".".join(keys)
    with naming(path):
        section = parse(kind, content, where)
        require_keys(kind, content, where)
    return section


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """The values of params.yaml as DVC sees them; raises UserError if there are none."""
    content = parse_yaml(read_text(path), path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys and values; restore it with `git checkout {path}`")
    return content


def write_text(text: str) -> None:
    """Make ``text`` the whole of params.yaml."""
    with atomic_file(PARAMS) as partial:
        partial.write_text(text, encoding="utf-8")


def read_text(path: Path = PARAMS) -> str:
    """The text of params.yaml; raises UserError if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run from the repository's root") from None
    except UnicodeError:
        raise UserError(f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); put the file there") from None
