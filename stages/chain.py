"""`python -m stages.chain N`: make chain.yaml hold N steps, the longest protocol `dvc repro` can run."""

import argparse
import shutil
from itertools import count

from der.common.files import whole_file
from stages.common import paths
from stages.common.paths import CHAIN

HEADER = """\
# The numbered steps of dvc.yaml's train_task, build_memory and evaluate: the longest protocol that
# `dvc repro` can run. Written by `python -m stages.chain N`; a number past a protocol's last step costs
# three stages of about a second each. DVC reads unquoted numbers as no stages at all.
"""


def write_chain(length: int) -> None:
    """Write chain.yaml for ``length`` steps; what stages of later ones left stays in DVC's cache alone.

    In the workspace it would count as part of the folders that summarize and report depend on.
    """
    lines = [
        f'  "{number}": {{previous: {number - 1}, phase: {"base" if number == 1 else "incremental"}}}\n'
        for number in range(1, length + 1)
    ]
    with whole_file(CHAIN) as partial:
        partial.write_text(HEADER + "steps:\n" + "".join(lines), encoding="utf-8")
    for step in count(length + 1):
        left = [output for output in paths.outputs(step) if output.exists()]
        if not left:
            break
        for output in left:
            shutil.rmtree(output) if output.is_dir() else output.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("length", type=int, metavar="N", help="number of steps, at least 1")
    length = parser.parse_args().length
    if length < 1:
        parser.error(f"N: {length} is out of range; write at least 1")
    write_chain(length)
    print(f"chain.yaml: {length} steps")


if __name__ == "__main__":
    main()
