"""`python -m bench.photos`: small networks from nothing and a pretrained one, on few images of CIFAR-100.

A row is written to bench/results/photos/table.json when it is finished; what is there is not run again.
"""

import argparse
import sys
from pathlib import Path

from bench.photos.rows import list_rows
from bench.photos.run import run
from bench.photos.table import RESULTS, format_rows, is_finished, read_rows, write_rows
from bench.results_file import describe_processor


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=Path, required=True, help="CIFAR-100 as {train,test}/<class>/<any name>.png"
    )
    parser.add_argument(
        "--weights", default="pretrained", help="a file of ImageNet's weights (default: downloaded)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose network has TEXT in its name")
    parser.add_argument("--to", type=Path, default=RESULTS, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="in place of the schedule's, for a trial")
    parser.add_argument("--tests", type=int, help="test images of a class, for a trial")
    options = parser.parse_args()
    machine = describe_processor()
    for row in list_rows():
        if options.only not in row.contender.name or is_finished(row.key, read_rows(options.to)):
            continue
        print(f"{row.key}", file=sys.stderr, flush=True)
        found = run(row, options.images, options.weights, options.epochs, options.tests)
        print(found, file=sys.stderr, flush=True)
        write_rows(options.to, [*read_rows(options.to), found | {"machine": machine}])
    print(format_rows(read_rows(options.to)))


if __name__ == "__main__":
    main()
