"""Guesses as lines of text, printed one by one as they are made."""

import csv
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from der.deployment.guess import Guess

PrintLine = Callable[[str, Sequence[Guess]], None]  # of a picture and its guesses, the best first


def printable(text: str) -> str:
    """``text`` on one line: line ends, control characters and invalid UTF-8 as Python escapes them."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        else letter
        for letter in text
    )


def start_table(files: Sequence[Path], names: Sequence[str], count: int) -> PrintLine:
    """Print the heading of a table for ``files`` and classes ``names``, ``count`` guesses each."""
    first = max([len("picture"), *(len(printable(str(file))) for file in files)])
    width = max(len(printable(name)) for name in names)

    def print_line(picture: str, guesses: Sequence[Guess]) -> None:
        cells = [f"{printable(guess.name):<{width}} {100 * guess.probability:6.2f} %" for guess in guesses]
        print("  ".join([f"{printable(picture):<{first}}", *cells]))

    headings = [f"{f'top-{number}':<{width + 9}}" for number in range(1, count + 1)]
    print("  ".join([f"{'picture':<{first}}", *headings]).rstrip())
    return print_line


def start_csv(count: int) -> PrintLine:
    """Print the heading of a CSV file with ``count`` guesses a line."""
    writer = csv.writer(sys.stdout, lineterminator="\n")

    def print_line(picture: str, guesses: Sequence[Guess]) -> None:
        cells = [(guess.name, f"{guess.probability:.6f}") for guess in guesses]
        writer.writerow([picture, *(text for cell in cells for text in cell)])

    names = [f"{what}_{number}" for number in range(1, count + 1) for what in ("class", "probability")]
    writer.writerow(["picture", *names])
    return print_line
