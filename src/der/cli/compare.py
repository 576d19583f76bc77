"""Compare the finished experiments of this commit: one row for every setting.

Runs that differ in nothing but train.seed and protocol.class_order share a row.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write the table to a file, too")


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from der.pipeline.runs import compare_experiments

    print(compare_experiments(arguments.csv))
