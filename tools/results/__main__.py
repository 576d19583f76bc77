"""`python -m tools.results`: keep a finished run of a preset in results/, or renew what README and docs show.

From the root of a clone; `record` on the machine where the stages ran, since the record names it.
"""

import argparse
from pathlib import Path

from der.core.errors import ending_in_a_sentence
from tools.results.record import record_run
from tools.results.render import renew_pages


def main(words: list[str] | None = None) -> None:
    """Run the command line ``words``, by default the program's own."""
    parser = argparse.ArgumentParser(prog="python -m tools.results", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    record = commands.add_parser(
        "record", help="keep the results of a finished run of preset NAME in results/"
    )
    record.add_argument("name", metavar="NAME", help="the preset that was run")
    clone = "where the stages ran, at whatever revision, if not here"
    record.add_argument("--clone", metavar="DIRECTORY", type=Path, default=Path(), help=clone)
    commands.add_parser("render", help="renew the tables and figures of results in README and docs")
    arguments = parser.parse_args(words)
    with ending_in_a_sentence("interrupted"):
        if arguments.command == "record":
            print(record_run(arguments.name, arguments.clone))
        else:
            print(renew_pages())


if __name__ == "__main__":
    main()
