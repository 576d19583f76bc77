"""Keep the results of a finished run of preset NAME in results/.

To be run on the machine where the stages ran: the record names it.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("name", metavar="NAME", help="the preset that was run")
    parser.add_argument(
        "--clone",
        metavar="DIRECTORY",
        type=Path,
        default=Path(),
        help="where the stages ran, at whatever revision, if not here",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the record, and say where."""
    from der.pipeline.recording import record_run

    print(record_run(arguments.name, arguments.clone))
