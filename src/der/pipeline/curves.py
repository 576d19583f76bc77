"""Live curves, where the user's environment names a folder for them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from der.core.errors import UserError, naming
from der.core.files import expand_home
from der.pipeline.environment import CURVES
from der.pipeline.timing import find_project

if TYPE_CHECKING:
    from der.train.step_run import Listener


def curves_root() -> Path | None:
    """The folder that DER_TENSORBOARD names, from the project's own; None if it names none.

    Raises UserError if TensorBoard is not installed or the folder cannot be made.
    """
    named = os.environ.get(CURVES)
    if not named:
        return None
    if find_spec("tensorboard") is None:
        raise UserError(
            f"{CURVES}: tensorboard is missing; pip install 'der-pipeline[tensorboard]', or unset {CURVES}"
        )
    with naming(CURVES):
        root = find_project() / expand_home(named)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{CURVES}: {root} cannot be made ({error.strerror}); name another folder, or unset {CURVES}"
        ) from None
    return root


@contextmanager
def curves(step: int, key: str, warn: Callable[[str], None]) -> Iterator["Listener"]:
    """A listener that writes the curves of ``step``, if DER_TENSORBOARD is set; ``key`` is its training's.

    Each training has a folder of its own, and finds it again when it goes on.
    """
    # Only now: these import torch, which costs seconds.
    from der.train.step_run import Listener
    from der.train.tensorboard import TensorBoard

    root = curves_root()
    if root is None:
        yield Listener()
        return
    with TensorBoard(root / f"step_{step:02}-{key[:8]}", warn) as writer:
        yield writer
