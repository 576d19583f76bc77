"""`der`: use a trained network, look at a run."""

import argparse
import io
import os
import sys
from pathlib import Path

from der.cli import export, predict, report
from der.common.errors import ending_in_a_sentence


def main(words: list[str] | None = None) -> None:
    """Run the command line ``words``, by default the program's own."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="der", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (predict, export, report):
        assert module.__doc__ is not None
        name = Path(module.__file__ or "").stem
        one = commands.add_parser(name, help=module.__doc__.split("\n")[0], description=module.__doc__)
        module.add_arguments(one)
        one.set_defaults(run=module.run)
    arguments = parser.parse_args(words)
    with ending_in_a_sentence("interrupted"):
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # as `| head` leaves it: no fault, but nobody to print to at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


def prepare_streams() -> None:
    """Have any text printable: escaped where the terminal lacks a letter, lost where a stream is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
