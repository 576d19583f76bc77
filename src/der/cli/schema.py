"""Write params.schema.json anew, after an edit of a setting or of what one may choose from."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(arguments: argparse.Namespace) -> None:
    """Write the schema, and say where."""
    from der.pipeline.checks import SCHEMA, write_schema

    write_schema()
    print(SCHEMA)
