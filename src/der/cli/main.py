"""`der`: what one does beside `dvc`. Set a run up, look at it, use the network that it trained."""

import argparse
import inspect
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from der.cli.commands import ARGUMENTS, COMMANDS
from der.core.errors import UserError, advising, ending_in_a_sentence

FIRST = """\
What one does first, in a clone of the project:

  der preset              the experiments there are; der preset NAME sets params.yaml to one
  der check               whether params.yaml and chain.yaml are good for a run
  der show                the results as a table; metrics/report.html has all of them
  der predict data/checkpoints/4 PICTURE ...

In between, `dvc repro` trains what is not trained yet.
`der --help` lists all commands, `der COMMAND --help` what each takes."""
# What the library does without and commands of the pipeline need.
PIPELINE = frozenset({"dvc", "hydra", "jinja2", "markupsafe", "psutil", "torchvision", "vl_convert"})


def main(words: list[str] | None = None) -> None:
    """Run the command line ``words``, by default the program's own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal lacks a letter
    sys.path.append(os.getcwd())  # where `python -m` looks too: for user-defined functions
    words = sys.argv[1:] if words is None else words
    if not words:
        print(FIRST)
        return
    arguments = build_parser().parse_args(words)
    from der.pipeline.paths import MEND  # only now: numpy costs a tenth of a second

    advice = f"{MEND}; a copy from elsewhere, copy again"
    with ending_in_a_sentence("interrupted"), advising(advice), naming_the_extra():
        try:
            arguments.run(arguments)
            print(end="", flush=True)
        except BrokenPipeError:  # as `| head` leaves it: no fault, but nobody to print to at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(prog="der", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        name, text = command.__name__, inspect.getdoc(command) or ""
        one = commands.add_parser(name, help=text.partition("\n")[0], description=text)
        for names, options in ARGUMENTS.get(name, []):
            one.add_argument(*names, **options)
        one.set_defaults(run=command)
    return parser


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """Turn a failed import of a package of the extra into a sentence that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in PIPELINE:
            raise
        raise UserError(
            f"{name} is missing, which this command needs; pip install 'der-pipeline[pipeline]'"
        ) from None
