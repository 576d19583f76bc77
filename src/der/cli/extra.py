"""The packages that the library does without and commands of the pipeline need."""

from collections.abc import Iterator
from contextlib import contextmanager

from der.core.errors import UserError

PIPELINE = frozenset({"dvc", "hydra", "jinja2", "markupsafe", "psutil", "torchvision", "vl_convert"})


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """Have an import that lacks one of them say what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in PIPELINE:
            raise
        raise UserError(
            f"{name} is missing, which this command needs; pip install 'der-pipeline[pipeline]'"
        ) from None
