"""Predictions as lines of text, printed one by one as they are made."""

import csv
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from der.deployment.prediction import Prediction

PrintLine = Callable[[str, Sequence["Prediction"]], None]  # of a picture and its predictions, the best first


def printable(text: str) -> str:
    """``text`` on one line: line ends, control characters and invalid UTF-8 as Python escapes them."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        else letter
        for letter in text
    )


def start_table(files: Sequence[Path], names: Sequence[str], count: int) -> PrintLine:
    """Print the heading of a table for ``files`` and classes ``names``, ``count`` predictions each."""
    first = max([len("picture"), *(len(printable(str(file))) for file in files)])
    width = max(len(printable(name)) for name in names)

    def print_line(picture: str, predictions: Sequence["Prediction"]) -> None:
        cells = [f"{printable(one.name):<{width}} {100 * one.probability:6.2f} %" for one in predictions]
        print("  ".join([f"{printable(picture):<{first}}", *cells]))

    headings = [f"{f'top-{rank}':<{width + 9}}" for rank in range(1, count + 1)]
    print("  ".join([f"{'picture':<{first}}", *headings]).rstrip())
    return print_line


def start_csv(count: int) -> PrintLine:
    """Print the heading of a CSV file with ``count`` predictions a line."""
    writer = csv.writer(sys.stdout, lineterminator="\n")

    def print_line(picture: str, predictions: Sequence["Prediction"]) -> None:
        cells = [(one.name, f"{one.probability:.6f}") for one in predictions]
        writer.writerow([picture, *(text for cell in cells for text in cell)])

    names = [f"{what}_{rank}" for rank in range(1, count + 1) for what in ("class", "probability")]
    writer.writerow(["picture", *names])
    return print_line
