"""Write the network of a checkpoint directory for other programs: uint8 pixels in, probabilities out.

The file is read back and compared with the network on a few images before it is left behind.
"""

import argparse
from pathlib import Path

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="data/checkpoints/<step>")
    parser.add_argument("--format", choices=SUFFIXES, required=True, help="torch.export's .pt2, or ONNX")
    parser.add_argument("--output", type=Path, help="file to write (default: network.pt2 or network.onnx)")


def run(arguments: argparse.Namespace) -> None:
    """Export, and say what goes in and comes out."""
    # Only now: torch costs seconds.
    from der.deployment.export import export_onnx, export_torch
    from der.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(arguments.checkpoint)
    metadata = checkpoint.metadata
    path = arguments.output or Path(f"network{SUFFIXES[arguments.format]}")
    export = {"torch": export_torch, "onnx": export_onnx}[arguments.format]
    export(checkpoint.network, metadata, path)
    side, channels = metadata.image_side, metadata.channels
    print(
        f"{path}: images uint8 (batch, {side}, {side}, {channels}) to probabilities float32 "
        f"(batch, {len(metadata.class_names)}), compared with the network"
    )
