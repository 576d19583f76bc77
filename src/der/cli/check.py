"""Say in one sentence what is wrong with params.yaml or chain.yaml, if anything is.

`dvc repro` says the same, but for what DVC cannot read or find: then it ends in words of its own.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(arguments: argparse.Namespace) -> None:
    """Check, and say that all is good."""
    from der.pipeline.checks import check_images, check_project
    from der.pipeline.graph import read_stages
    from der.pipeline.lockfile import check_lock
    from der.pipeline.user_code import hash_stages

    check_lock()
    hash_stages([*read_stages()])
    check_project(print)
    check_images()
    print("params.yaml and chain.yaml are good")
