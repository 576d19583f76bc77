"""What to do about a file that is not as it was written."""

from collections.abc import Iterator
from contextlib import contextmanager

from der.core.errors import DamageError, UserError

MEND = "run `der verify --repair`, then `dvc repro`"


@contextmanager
def advising(advice: str = MEND) -> Iterator[None]:
    """Have the message of damage say what to do."""
    try:
        yield
    except DamageError as error:
        raise UserError(f"{error}; {advice}") from None
