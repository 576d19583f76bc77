"""Write the page of a finished run, metrics/report.html, as stage report does.

With two or more revisions or experiments: metrics/comparison.html, one page that compares their results.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="a revision of git, or the name of an experiment, to compare"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the page, and say where."""
    if arguments.runs:
        from der.pipeline.page import make_comparison

        print(make_comparison(arguments.runs))
    else:
        from der.pipeline.page import make_page

        print(make_page())
