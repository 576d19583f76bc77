"""Choices by name: what a setting's text stands for, beside the implementations it chooses from."""

from collections.abc import Mapping
from typing import TypeVar

from der.common.errors import UserError

T = TypeVar("T")


def look_up(choices: Mapping[str, T], name: str, where: str) -> T:
    """The entry ``name`` of ``choices``; raises UserError, ``where`` first, that names all there are."""
    if name not in choices:
        raise UserError(f"{where}: {name!r} does not fit; write {' or '.join(choices)}")
    return choices[name]
