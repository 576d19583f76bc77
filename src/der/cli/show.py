"""Show the results of the last run as a table, and where to look next."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(arguments: argparse.Namespace) -> None:
    """Print the table of metrics/summary.json."""
    from der.pipeline.runs import show_results

    print(show_results())
