"""Say what `dvc repro` would run and take, or the rows of a sweep together, before it starts.

Seconds are those that each stage took when it last ran in this directory. What DVC's cache has from earlier
runs is restored in a moment when its turn comes: less may run than is said, never more.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument(
        "-S",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="as of `dvc exp run`; values with commas between them make a sweep",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the plan."""
    from der.pipeline.plan import describe_plan

    print(describe_plan(arguments.settings))
