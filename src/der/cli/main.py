"""`der`: what one does beside `dvc`. Set a run up, look at it, use the network that it trained."""

import argparse
import importlib
import io
import os
import sys
from contextlib import suppress

from der.cli.extra import naming_the_extra
from der.core.errors import MEND, advising, ending_in_a_sentence

COMMANDS = (
    *("preset", "chain", "add", "check", "show", "report", "predict", "export", "compare", "plan"),
    *("record", "results", "schema", "verify"),
)
FIRST = """\
What one does first, in a clone of the project:

  der preset              the experiments there are; der preset NAME sets params.yaml to one
  der check               whether params.yaml and chain.yaml are good for a run
  der show                the results as a table; metrics/report.html has all of them
  der predict data/checkpoints/4 PICTURE ...

In between, `dvc repro` trains what is not trained yet.
`der --help` lists all commands, `der COMMAND --help` what each takes."""


def main(words: list[str] | None = None) -> None:
    """Run the command line ``words``, by default the program's own."""
    prepare_streams()
    with suppress(FileNotFoundError):  # the directory was removed; --help works there, too
        sys.path.append(os.getcwd())  # where `python -m` looks too: for functions of one's own
    words = sys.argv[1:] if words is None else words
    if not words:
        print(FIRST)
        return
    arguments = build_parser().parse_args(words)
    advice = f"{MEND}; a copy from elsewhere, copy again"
    with ending_in_a_sentence("interrupted"), advising(advice), naming_the_extra():
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # as `| head` leaves it: no fault, but nobody to print to at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what a command needs to run is imported by it alone."""
    parser = argparse.ArgumentParser(prog="der", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"der.cli.{name}")
        assert module.__doc__ is not None
        one = commands.add_parser(name, help=module.__doc__.split("\n")[0], description=module.__doc__)
        module.add_arguments(one)
        one.set_defaults(run=module.run)
    return parser


def prepare_streams() -> None:
    """Have any text printable: escaped where the terminal lacks a letter, lost where a stream is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
