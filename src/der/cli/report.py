"""Write the page of a finished pipeline, metrics/report.html, as its stage `report` does."""

import argparse
import subprocess
import sys
from pathlib import Path

from der.common.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument(
        "root", type=Path, nargs="?", default=Path(), metavar="FOLDER",
        help="that holds dvc.yaml (default: the current one)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Run the stage in the pipeline's folder, with the pipeline's own code."""
    if not (arguments.root / "stages/report.py").is_file():
        raise UserError(f"{arguments.root}: no DER pipeline; name the folder that holds its dvc.yaml")
    done = subprocess.run([sys.executable, "-m", "stages.report"], cwd=arguments.root)
    if done.returncode:
        sys.exit(done.returncode)
