"""Errors whose message is a sentence for users, how a program ends with one, and text that fits on a line."""

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which spreadsheets begin one
QUOTE = "'"


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says what and how."""


class DamageError(UserError):
    """A file is missing, or not as it was written; the message leaves open what to do about it."""


class ForeignCodeError(UserError):
    """A file names code that may be anyone's; the message leaves open how a program comes to import it."""


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Put ``place`` in front of the message of a UserError: where its reader finds what is wrong."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


@contextmanager
def ending_in_a_sentence(interrupted: str) -> Iterator[None]:
    """End the program with one line where users can put right what is wrong, ``interrupted`` after Ctrl-C."""
    try:
        yield
    except (UserError, OSError) as error:
        sys.exit(
            f"error: {printable(describe_error(error))}"
        )  # in one line, whatever the names of files hold
    except KeyboardInterrupt:
        sys.exit(interrupted)


def describe_error(error: UserError | OSError) -> str:
    """Say what is wrong: of the system's errors, as of a full disk or a missing permission, with the file."""
    return (
        str(error)
        if isinstance(error, UserError)
        else f"{error.filename or 'files'}: {error.strerror or error}"
    )


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Add ``advice``, what to do, to the message of damage."""
    try:
        yield
    except DamageError as error:
        raise UserError(f"{error}; {advice}") from None


def printable(text: str) -> str:
    """Escape line ends, control characters and invalid UTF-8 as Python does: ``text`` on one line."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        else letter
        for letter in text
    )


def columns(text: str) -> int:
    """Count the columns of a terminal that ``text`` takes: two for wide letters, none for accents."""
    wide = ("W", "F")
    return sum(
        2 if unicodedata.east_asian_width(letter) in wide else 1
        for letter in text
        if unicodedata.category(letter) not in ("Mn", "Me", "Cf")
    )


def csv_cell(text: str) -> str:
    """Put an apostrophe before a spreadsheet's formula, and before one that is there: so it can be undone."""
    return QUOTE + text if text.startswith((*FORMULA, QUOTE)) else text


def text_of_cell(cell: str) -> str:
    """Return what ``csv_cell`` was given."""
    return cell.removeprefix(QUOTE)
