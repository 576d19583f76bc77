"""Errors with one sentence for users, the end of a program with such an error, and text for one line."""

import atexit
import gc
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # letters that turn the order of others
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which spreadsheets begin one
QUOTE = "'"


class UserError(ValueError):
    """An error that the user can fix; the message is one sentence that says what is wrong and what to do."""


class DamageError(UserError):
    """A file is missing or was changed; the message does not say what to do about it."""


class ForeignCodeError(UserError):
    """A file names code that the program has not imported; the message does not say how to import it."""


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Put ``place`` before the message of a UserError, so that the reader finds the mistake."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


@contextmanager
def ending_in_a_sentence(interrupted: str) -> Iterator[None]:
    """End the program with one line after an error that users can fix, with ``interrupted`` after Ctrl-C."""
    atexit.register(gc.freeze)  # else Python looks for garbage among all objects of torch: half a second
    try:
        yield
    except (UserError, OSError) as error:
        sys.exit(f"error: {printable(describe_error(error))}")  # in one line, whatever names of files hold
    except KeyboardInterrupt:
        sys.exit(interrupted)


def describe_error(error: UserError | OSError) -> str:
    """Describe an error; for an error of the system, such as a full disk, with the file."""
    if isinstance(error, UserError):
        return str(error)
    return f"{error.filename or 'files'}: {error.strerror or error}"


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Add ``advice`` to the message of a DamageError."""
    try:
        yield
    except DamageError as error:
        raise UserError(f"{error}; {advice}") from None


def printable(text: str) -> str:
    """Return ``text`` on one line, in the order written: escape controls and invalid UTF-8 as Python does."""
    odd = {one for one in text if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or one in TURNS}
    return "".join(one.encode("unicode_escape").decode("ascii") if one in odd else one for one in text)


def composed(text: str) -> str:
    """Return ``text`` in Unicode NFC: an editor or a file system may write a letter and its accent apart."""
    return unicodedata.normalize("NFC", text)


def columns(text: str) -> int:
    """Count the terminal columns of ``text``: two for wide letters, none for accents."""
    wide = [unicodedata.east_asian_width(one) in "WF" for one in text]
    return len(text) + sum(wide) - sum(unicodedata.category(one) in ("Mn", "Me", "Cf") for one in text)


def csv_cell(text: str) -> str:
    """Put an apostrophe, QUOTE, before a spreadsheet's formula or a leading apostrophe."""
    return QUOTE + text if text.startswith((*FORMULA, QUOTE)) else text
