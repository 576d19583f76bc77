"""Renew the README's tables and figures of published and measured results, and show what was measured."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(arguments: argparse.Namespace) -> None:
    """Write README.md and the figures, and print what was measured."""
    from der.project.results import renew_results

    print(renew_results())
