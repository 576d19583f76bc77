"""Write the network of a checkpoint directory for other programs: uint8 pixels in, probabilities out.

docs/exports.md has an example of what such a program looks like, and what travels with the network.

The file is read back and compared with the network on a few images before it is left behind.
"""

import argparse
from pathlib import Path

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="data/checkpoints/<step>")
    parser.add_argument(
        "--format", choices=SUFFIXES, required=True, help="torch.export's .pt2, ONNX, or weights alone"
    )
    parser.add_argument(
        "--output", type=Path, help="file to write (default: network and the format's suffix)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Export, and say what goes in and comes out."""
    # Only now: torch costs seconds.
    from der.inference.export import export_onnx, export_safetensors, export_torch
    from der.model.checkpoint import load_checkpoint
    from der.pipeline.user_code import importing_named

    with importing_named():
        checkpoint = load_checkpoint(arguments.checkpoint)
    metadata = checkpoint.metadata
    path = arguments.output or Path(f"network{SUFFIXES[arguments.format]}")
    exports = {"torch": export_torch, "onnx": export_onnx, "safetensors": export_safetensors}
    exports[arguments.format](checkpoint.network, metadata, path)
    side, channels = metadata.image_side, metadata.channels
    print(
        f"{path}: images uint8 (batch, {side}, {side}, {channels}) to probabilities float32 "
        f"(batch, {len(metadata.class_names)}), compared with the network"
    )
