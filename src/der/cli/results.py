"""Renew the tables and figures of published and measured results in README and docs, and show the first."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(arguments: argparse.Namespace) -> None:
    """Write the pages and the figures, and print what was measured."""
    from der.pipeline.results import renew_results

    print(renew_results())
