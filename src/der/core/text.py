"""Text that lines and tables can hold, whatever names users have given to files and classes."""

import unicodedata

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which spreadsheets begin one
QUOTE = "'"


def printable(text: str) -> str:
    """``text`` on one line: line ends, control characters and invalid UTF-8 as Python escapes them."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        else letter
        for letter in text
    )


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes: two for wide letters, none for accents put on others."""
    wide = ("W", "F")
    return sum(
        2 if unicodedata.east_asian_width(letter) in wide else 1
        for letter in text
        if unicodedata.category(letter) not in ("Mn", "Me", "Cf")
    )


def csv_cell(text: str) -> str:
    """``text`` with an apostrophe before it where a spreadsheet would run it as a formula.

    Texts that begin with an apostrophe get another, so that taking one off gives every text back.
    """
    return QUOTE + text if text.startswith((*FORMULA, QUOTE)) else text


def text_of_cell(cell: str) -> str:
    """What ``csv_cell`` was given."""
    return cell.removeprefix(QUOTE)
