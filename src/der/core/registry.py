"""Resolves the names in settings to implementations.

A name with a colon, "my_package.module:function", is a user-defined function, from anywhere on Python's path.
Names in untrusted files resolve only to modules that the program has already imported.
A built-in family, as in "timm:resnet50", may also stand before the colon: its key ends in a colon.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TypeVar, cast

from der.core.errors import ForeignCodeError, UserError

T = TypeVar("T")

OWN = ":"  # between module and function, and after a family
FAMILIES = frozenset({"timm"})
imported_own: set[str] = set()  # modules that this process has imported for a name


def look_up(choices: Mapping[str, T], name: str, where: str) -> T:
    """Resolve ``name`` to an entry of ``choices`` or a user-defined function; else raises UserError."""
    if (module := module_of(name)) is not None:
        attribute = name.partition(OWN)[2]
        own: object = getattr(import_own(module, where), attribute, None)
        if not callable(own):
            raise UserError(f"{where}: {module!r} has no function {attribute!r}; write module:function")
        return cast(T, own)
    family, colon, _ = name.partition(OWN)
    if (key := family + colon) not in choices:
        known = " or ".join(f"{one}<name>" if one.endswith(OWN) else one for one in choices)
        raise UserError(f"{where}: {name!r} does not fit; write {known}, or module:function of your own")
    return choices[key]


def module_of(name: str) -> str | None:
    """Return the module of a name with a colon, unless the name belongs to a family."""
    module, colon, _ = name.partition(OWN)
    return module if colon and module not in FAMILIES else None


def check_imported(name: str, where: str) -> None:
    """Raise ForeignCodeError, ``where`` first, for a function of a module that was not imported."""
    if (module := module_of(name)) is not None and module not in sys.modules:
        advice = f"import {module} first, if you trust it"
        raise ForeignCodeError(f"{where}: {name!r} is code that may be anyone's; {advice}")


def refuse_pythons(module: str, where: str) -> None:
    """Raise UserError, ``where`` first, for a module of Python's standard library."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(f"{where}: {module!r} is Python's own; write a function made for this")


def import_own(module: str, where: str) -> ModuleType:
    """Import a user's module; raises UserError, ``where`` first, if that fails."""
    refuse_pythons(module, where)
    try:
        found = import_module(module)
    except Exception as error:  # a user's module may raise anything when it is imported
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and not f"{module}.".startswith(f"{missing}."):
            raise UserError(f"{where}: {module!r} needs {missing}, which is missing; install it") from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{where}: {module!r} cannot be imported ({reason}); correct it") from error
    imported_own.add(module)
    return found
