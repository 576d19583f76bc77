"""Make chain.yaml hold as many steps as the protocol has, or N, for a sweep over protocols.

It is the longest protocol that can be run.
"""

import argparse

from der.cli.counts import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument(
        "length", type=count, nargs="?", metavar="N", help="number of steps (default: those of params.yaml)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write chain.yaml, and say how long it is."""
    from der.pipeline.edits import resize_chain

    length = resize_chain(arguments.length)
    print(f"chain.yaml: {length} step{'s' if length > 1 else ''}")
