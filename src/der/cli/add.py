"""Add classes as one more step of the protocol; finished steps stay as they are.

Without names, all classes of the images that are in no finished step.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="a class, as its folder is named")


def run(arguments: argparse.Namespace) -> None:
    """Edit params.yaml and chain.yaml, and say what `dvc repro` will train."""
    from der.pipeline.edits import add_classes

    print(add_classes(arguments.names))
