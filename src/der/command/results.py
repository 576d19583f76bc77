"""Renew the README's table of published and measured results, and show it."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(arguments: argparse.Namespace) -> None:
    """Write the table into README.md and print it."""
    from der.project.results import renew_results

    print(renew_results())
