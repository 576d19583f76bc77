"""Predictions as lines of text, printed one by one as they are made."""

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from der.core.errors import columns, csv_cell, printable

if TYPE_CHECKING:
    from der.inference.predictor import Prediction, Predictor

MOST_PICTURES = 256  # that are read before the first of them is answered
PrintLine = Callable[[str, Sequence["Prediction"]], None]  # of a picture and its predictions, the best first


def print_predictions(predictor: "Predictor", files: list[Path], top: int, print_line: PrintLine) -> int:
    """Print a line for every picture, and why where one cannot be read; returns how many could not."""
    from tqdm import tqdm

    from der.inference.loader import read_chunks
    from der.model.forward import images_per_pass

    side, channels = predictor.metadata.image_side, predictor.metadata.channels
    size = min(images_per_pass(side * side * channels), MOST_PICTURES)
    skipped = 0
    with tqdm(total=len(files), unit="picture", leave=False, disable=None) as bar:
        for chunk in read_chunks(files, side, channels, size):
            with bar.external_write_mode():
                for fault in chunk.faults:
                    print(f"skipped: {printable(fault)}", file=sys.stderr, flush=True)
                for file, predictions in zip(chunk.files, predictor.best(chunk.images, top), strict=True):
                    print_line(str(file), predictions)
            skipped += len(chunk.faults)
            bar.update(len(chunk.files) + len(chunk.faults))
    return skipped


def start_table(files: Sequence[Path], names: Sequence[str], count: int) -> PrintLine:
    """Print the heading of a table for ``files`` and classes ``names``, ``count`` predictions each."""
    first = max([len("picture"), *(columns(printable(str(file))) for file in files)])
    width = max(columns(printable(name)) for name in names)

    def print_line(picture: str, predictions: Sequence["Prediction"]) -> None:
        cells = [f"{_pad(one.name, width)} {100 * one.probability:6.2f} %" for one in predictions]
        print("  ".join([_pad(picture, first), *cells]))

    headings = [f"{f'top-{rank}':<{width + 9}}" for rank in range(1, count + 1)]
    print("  ".join([f"{'picture':<{first}}", *headings]).rstrip())
    return print_line


def _pad(name: str, width: int) -> str:
    text = printable(name)
    return text + " " * (width - columns(text))


def start_csv(count: int) -> PrintLine:
    """Print the heading of a CSV file with ``count`` predictions a line; no name in it is a formula."""
    writer = csv.writer(sys.stdout, lineterminator="\n")

    def print_line(picture: str, predictions: Sequence["Prediction"]) -> None:
        cells = [(csv_cell(one.name), f"{one.probability:.6f}") for one in predictions]
        writer.writerow([csv_cell(picture), *(text for cell in cells for text in cell)])

    names = [f"{what}_{rank}" for rank in range(1, count + 1) for what in ("class", "probability")]
    writer.writerow(["picture", *names])
    return print_line
