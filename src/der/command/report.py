"""Write the page of a finished run, metrics/report.html, as stage report does."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(arguments: argparse.Namespace) -> None:
    """Write the page, and say where."""
    from der.project.page import make_page

    print(make_page())
