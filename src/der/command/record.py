"""Keep the results of a finished run of preset NAME in results/.

To be run where the stages ran: the record names this machine.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("name", metavar="NAME", help="the preset that was run")


def run(arguments: argparse.Namespace) -> None:
    """Write the record, and say where."""
    from der.project.records import record_run

    print(record_run(arguments.name))
