"""Functions of the user's own that params.yaml names, module:function, for commands that read checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager

from der.core.errors import ForeignCodeError, UserError
from der.core.registry import import_own
from der.pipeline.fingerprint import named_modules
from der.pipeline.params import read_params
from der.pipeline.paths import PARAMS


@contextmanager
def importing_named() -> Iterator[None]:
    """Import the user's modules that params.yaml, if there is one, names, before checkpoints are read.

    Raises UserError if one cannot be imported, or if the block needs one that params.yaml does not name.
    """
    if PARAMS.is_file():
        for key, module in named_modules(read_params()).items():
            import_own(module, f"{PARAMS}: {key}")
    try:
        yield
    except ForeignCodeError as error:
        raise UserError(
            f"{error}, as der does with what the {PARAMS} of the current directory names"
        ) from None
