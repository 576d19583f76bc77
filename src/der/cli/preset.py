"""Write a preset into params.yaml; without a name, list them."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a preset; without it, all are listed")
    parser.add_argument("--class-order", metavar="ORDER", help="a name of class_orders, for CIFAR-100")


def run(arguments: argparse.Namespace) -> None:
    """Apply the preset, and say what changed and what `dvc repro` will recompute."""
    from der.pipeline.edits import apply_preset
    from der.pipeline.presets import describe_presets

    if arguments.name is None:
        print(describe_presets())
    else:
        print(apply_preset(arguments.name, arguments.class_order))
