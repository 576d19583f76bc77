"""Settings changed by keyword: train__seed stands for train.seed, as scikit-learn names what lies inside."""

from typing import Any

import msgspec
import numpy as np

from der.core.errors import UserError
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.sections import to_values

SEPARATOR = "__"


def change_settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    """``settings`` with other values; raises UserError for a key or value that does not fit."""
    if not isinstance(settings, Settings):
        raise UserError(
            f"settings: a {type(settings).__name__} does not fit; give der.preset(...) or "
            "der.read_settings(...)"
        )
    if not changes:
        return settings
    values = to_values(settings)
    for key, value in changes.items():
        section = values
        *sections, last = key.split(SEPARATOR)
        for name in sections:
            inner = section.get(name)
            if not isinstance(inner, dict):  # masks, which may be None: it is given whole
                raise UserError(f"{key.replace(SEPARATOR, '.')}: there is no section {name!r} to change")
            section = inner
        section[last] = _plain(value, key)
    return parse(Settings, values)


def _plain(value: Any, key: str) -> Any:
    """Sections, arrays and numbers of NumPy as what YAML has for them."""

    def convert(inner: Any) -> Any:
        if isinstance(inner, np.generic | np.ndarray):
            return inner.tolist()
        where, kind = key.replace(SEPARATOR, "."), type(inner).__name__
        raise UserError(f"{where}: a {kind} does not fit; give a number, text, a list, True, False or None")

    return msgspec.to_builtins(value, enc_hook=convert)


def list_values(settings: Settings) -> dict[str, Any]:
    """All values by the keys that ``change_settings`` takes, sections among them."""
    return dict(_flatten(to_values(settings), ""))


def _flatten(values: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found.append((prefix + name, value))
        if isinstance(value, dict):
            found += _flatten(value, prefix + name + SEPARATOR)
    return found
