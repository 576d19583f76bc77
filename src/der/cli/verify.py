"""Find every damaged file among the results and in DVC's cache; --repair removes it.

The next `dvc repro` makes what was removed again, from the cache or by its stage; an object of the cache of
which the results hold the bytes is put back. Not while stages run. Exit status 1 if there is damage left.
"""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("--repair", action="store_true", help="remove what is damaged, or put it back")


def run(arguments: argparse.Namespace) -> None:
    """Print a line for everything damaged."""
    from der.core.errors import printable
    from der.pipeline.damage import MEND
    from der.pipeline.verification import find_all_damage, repair

    damages = find_all_damage()
    for line in repair(damages) if arguments.repair else (damage.sentence for damage in damages):
        print(printable(line))
    if not damages:
        print("no damage")
    elif arguments.repair:
        print("now run `dvc repro`")
    else:
        sys.exit(f"error: {len(damages)} damaged; {MEND}")
