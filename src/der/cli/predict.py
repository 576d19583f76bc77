"""Name the classes that pictures show, by the network of a checkpoint directory.

Any picture that Pillow reads; directories are searched, but for files whose names say that they are none. One
that cannot be read is reported and skipped, and the exit status is 1.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from der.cli.counts import count
from der.cli.prediction_lines import PrintLine, start_csv, start_table
from der.core.text import printable
from der.settings.training import PRECISIONS

if TYPE_CHECKING:
    from der.inference.predictor import Predictor

MOST_PICTURES = 256  # that are read before the first of them is answered


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="data/checkpoints/<step>")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--top", type=count, default=3, metavar="K", help="classes per picture (default: 3)")
    parser.add_argument("--csv", action="store_true", help="comma-separated, with a heading")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="bfloat16: faster where the processor has it, equal to about two digits",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a line for every picture; exit with status 1 if any could not be read."""
    # Only now: torch costs seconds.
    from der.inference.loader import list_pictures
    from der.inference.predictor import load_predictor
    from der.pipeline.environment import set_up_device
    from der.pipeline.user_code import importing_named

    device = set_up_device()
    with importing_named():
        predictor = load_predictor(arguments.checkpoint, device, arguments.precision)
    files = list_pictures(arguments.pictures)
    names = predictor.metadata.class_names
    top = min(arguments.top, len(names))
    print_line = start_csv(top) if arguments.csv else start_table(files, names, top)
    skipped = print_predictions(predictor, files, top, print_line)
    if skipped:
        sys.exit(f"error: {skipped} of {len(files)} files could not be read as pictures")


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
