"""The one error type whose message is written for users, and how a program ends with it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from der.core.text import printable

MEND = "run `der verify --repair`, then `dvc repro`"  # what to do about damage


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says what and how."""


class DamageError(UserError):
    """A file that is missing, or not as it was written; the message leaves open what to do about it."""


class ForeignCodeError(UserError):
    """A file names code that may be anyone's; the message leaves open how a program comes to import it."""


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Have the message of a UserError begin with ``place``, where its reader finds what it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


@contextmanager
def ending_in_a_sentence(interrupted: str) -> Iterator[None]:
    """Have what users can mend end the program in one line and exit status 1.

    ``interrupted`` is the line after Ctrl-C.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")  # in one line, whatever the names of files hold
    except OSError as error:  # a full disk, a missing permission
        sys.exit(f"error: {printable(str(error.filename or 'files'))}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(interrupted)


@contextmanager
def advising(advice: str = MEND) -> Iterator[None]:
    """Have the message of damage say what to do."""
    try:
        yield
    except DamageError as error:
        raise UserError(f"{error}; {advice}") from None
