"""Choices by name: what a setting's text stands for, beside the implementations it chooses from.

A name with a colon, "my_package.module:function", is one's own function, from anywhere on Python's path.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TypeVar, cast

from der.common.errors import UserError

T = TypeVar("T")

OWN = ":"  # between module and function


def look_up(choices: Mapping[str, T], name: str, where: str) -> T:
    """What ``name`` stands for: an entry of ``choices``, or a function of one's own.

    Raises UserError, ``where`` first, that says what can be written.
    """
    if OWN in name:
        return cast(T, _import_own(name, where))
    if name not in choices:
        raise UserError(
            f"{where}: {name!r} does not fit; write {' or '.join(choices)}, or module:function of your own"
        )
    return choices[name]


def _import_own(name: str, where: str) -> object:
    module, _, attribute = name.partition(OWN)
    try:
        own = getattr(import_module(module), attribute, None)
    except Exception as error:  # whatever someone's module does when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{where}: {module!r} cannot be imported ({reason}); correct it") from error
    if not callable(own):
        raise UserError(f"{where}: {module!r} has no function {attribute!r}; write module:function")
    return cast(object, own)
