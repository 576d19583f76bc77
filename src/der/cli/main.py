"""`der`: the commands that complement `dvc`. Set up a run, look at it, use the network that it trained."""

import argparse
import csv
import inspect
import io
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import der
from der.core.errors import UserError, advising, columns, csv_cell, ending_in_a_sentence, printable
from der.settings.sections import PRECISIONS

if TYPE_CHECKING:
    from der.inference.predictor import Prediction

# Packages that only the pipeline's commands need.
PIPELINE = frozenset({"dvc", "hydra", "jinja2", "markupsafe", "psutil", "shtab", "torchvision", "vl_convert"})


def main(words: list[str] | None = None) -> None:
    """Run the command line ``words``, by default the program's own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal lacks a letter
    sys.path.append(os.getcwd())  # where `python -m` looks too: for user-defined functions
    words = sys.argv[1:] if words is None else words
    arguments = build_parser().parse_args(words or ["--help"])
    if arguments.run not in (predict, export):  # which take networks and pictures of anywhere
        enter_project(arguments)
    from der.pipeline.project import MEND  # only now: numpy costs a tenth of a second

    advice = f"{MEND}; a copy from elsewhere, copy again"
    with ending_in_a_sentence("interrupted"), advising(advice), naming_the_extra():
        try:
            arguments.run(arguments)
            print(end="", flush=True)
        except BrokenPipeError:  # as after `| head`: no error, but nothing can be printed at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def enter_project(arguments: Namespace) -> None:
    """Go up to the directory of the project, if there is one; paths of ``arguments`` stay what they are."""
    here = Path.cwd()
    for root in (here, *here.parents):
        if (root / "dvc.yaml").is_file() and (root / "params.yaml").is_file():
            paths = {name: value for name, value in vars(arguments).items() if isinstance(value, Path)}
            vars(arguments).update({name: here / value for name, value in paths.items()})
            os.chdir(root)
            return


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="der", description=__doc__)
    parser.add_argument("--version", action="version", version=f"der {der.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        name, text = command.__name__, inspect.getdoc(command) or ""
        one = commands.add_parser(name, help=text.partition("\n")[0], description=text)
        for names, options in ARGUMENTS.get(name, []):
            one.add_argument(*names, **options)
        one.set_defaults(run=command)
    with suppress(ModuleNotFoundError):  # DVC brings it
        import shtab

        shtab.add_argument_to(parser, help="print completion for a shell")
        for action in (action for one in commands.choices.values() for action in one._actions):
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """Replace the error of a missing package by a sentence that says which extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in PIPELINE:
            raise
        fault = f"{name} is missing, which this command needs; pip install 'der-pipeline[pipeline]'"
        raise UserError(fault) from None


Command = Callable[[Namespace], None]  # its docstring is its help; it imports when it runs, for speed
ARGUMENTS: dict[str, list[tuple[tuple[str, ...], dict[str, Any]]]] = {}  # by command, as argparse takes them
SUFFIXES = {"torch": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
MOST_PICTURES = 256  # that are read before the first of them is answered
PrintLine = Callable[[str, Sequence["Prediction"]], None]  # of a picture and its predictions, the best first


def takes(*names: str, **options: Any) -> Callable[[Command], Command]:
    """Declare an argument of the command below, as ``add_argument`` of argparse takes it."""

    def declare(command: Command) -> Command:
        ARGUMENTS.setdefault(command.__name__, []).insert(0, (names, options))
        return command

    return declare


@takes("name", nargs="?", metavar="NAME", help="a preset; without it, all are listed")
@takes("--class-order", metavar="ORDER", help="a class order for CIFAR-100, as `der preset` lists them")
def preset(arguments: Namespace) -> None:
    """Write a preset into params.yaml; without a name, list them."""
    from der.pipeline import edits, presets

    if arguments.name is None:
        print(presets.describe_presets())
    else:
        print(edits.apply_preset(arguments.name, arguments.class_order))


@takes("length", type=int, nargs="?", metavar="N", help="number of steps (default: those of params.yaml)")
def chain(arguments: Namespace) -> None:
    """Write the number of steps that can run to chain.yaml: the protocol's, or N.

    A sweep needs its longest protocol's.
    """
    from der.pipeline.edits import resize_chain

    length = resize_chain(arguments.length)
    print(f"chain.yaml: {length} step{'s' if length > 1 else ''}")


@takes("names", nargs="*", metavar="NAME", help="a class, as its folder is named")
@takes("--photos", action="store_true", help="add new photos of old classes to the newest step")
def add(arguments: Namespace) -> None:
    """Add a step of new classes, or with --photos new photos to the newest step.

    Without names it adds all classes that are in no step yet; finished steps stay as they are. With --photos,
    new photos of old classes (NAME, or all) move to folders like ant@3; the newest step, 3, trains on them.
    """
    from der.pipeline import edits

    print((edits.add_photos if arguments.photos else edits.add_classes)(arguments.names))


@takes("names", nargs="+", metavar="NAME", help="a class, as its folder is named")
def remove(arguments: Namespace) -> None:
    """Take classes out of the protocol; their images stay, and `der add` brings them back."""
    from der.pipeline.edits import remove_classes

    print(remove_classes(arguments.names))


@takes("old", metavar="OLD", help="a class, as its folder is named")
@takes("new", metavar="NEW", help="its new name")
def rename(arguments: Namespace) -> None:
    """Rename a class, and its folders of images."""
    from der.pipeline.edits import rename_class

    print(rename_class(arguments.old, arguments.new))


def check(arguments: Namespace) -> None:
    """Say in one sentence what is wrong with params.yaml or chain.yaml, if anything is.

    `dvc repro` says the same, except for files that DVC cannot read or find: it then ends with its own error.
    """
    from der.pipeline import dvc, edits, fingerprint, project

    dvc.check_lock()
    fingerprint.read_code(project.read_stages())
    edits.check_project(print)
    edits.check_images()
    print("params.yaml and chain.yaml are good")


@takes("--json", action="store_true", help="print metrics/summary.json, unless it is outdated")
def show(arguments: Namespace) -> None:
    """Show the results of the last run as a table, and where to look next."""
    from der.pipeline.runs import show_results

    print(show_results(as_json=arguments.json))


@takes("runs", metavar="RUN", nargs="*", help="a revision of git, or the name of an experiment, to compare")
def report(arguments: Namespace) -> None:
    """Write the page of a finished run, metrics/report.html, as stage report does.

    With two or more revisions or experiments, write metrics/comparison.html, which compares their results.
    """
    from der.pipeline import page, presets

    runs = arguments.runs
    print(page.make_comparison(runs) if runs else page.make_page(presets.load_settings()))


@takes("checkpoint", type=Path, metavar="CHECKPOINT", help="data/checkpoints/<step>")
@takes("pictures", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
@takes("--top", type=int, default=3, metavar="K", help="classes per picture (default: 3)")
@takes("--csv", action="store_true", help="comma-separated, with a heading")
@takes("--json", action="store_true", help="a line of JSON for each picture")
@takes("--unknown", action="store_const", const="unknown", help="print unknown for what is like no class")
@takes(
    "--precision",
    choices=PRECISIONS,
    default=PRECISIONS[0],
    help="bfloat16: faster where the processor has it, equal to about two digits",
)
def predict(arguments: Namespace) -> None:
    """Predict the classes of pictures with the network of a checkpoint directory.

    It takes every picture that Pillow reads, and searches directories for pictures. It reports and skips a
    picture that it cannot read, and the exit status is then 1.
    """
    from tqdm import tqdm

    from der.inference.predictor import list_pictures, load_predictor, read_chunks
    from der.model.network import images_per_pass
    from der.pipeline import environment, fingerprint

    device = environment.set_up_device()
    with fingerprint.importing_named():
        predictor = load_predictor(arguments.checkpoint, device, arguments.precision)
    files = list_pictures(arguments.pictures)
    names = [*predictor.metadata.class_names, *filter(None, [arguments.unknown])]
    top = max(1, min(arguments.top, len(names)))
    print_line: PrintLine = print_json
    if not arguments.json:
        print_line = start_csv(top) if arguments.csv else start_table(files, names, top)
    side, channels = predictor.metadata.image_side, predictor.metadata.channels
    size, skipped = min(images_per_pass(side * side * channels), MOST_PICTURES), 0
    with tqdm(total=len(files), unit="picture", leave=False, disable=None) as bar:
        for found, images, faults in read_chunks(files, side, channels, size):
            with bar.external_write_mode():
                for fault in faults:
                    print(f"skipped: {printable(fault)}", file=sys.stderr, flush=True)
                best = predictor.best(images, top, unknown=arguments.unknown)
                for file, predictions in zip(found, best, strict=True):
                    print_line(str(file), predictions)
            skipped += len(faults)
            bar.update(len(found) + len(faults))
    if skipped:
        sys.exit(f"error: {skipped} of {len(files)} files could not be read as pictures")


def start_table(files: Sequence[Path], names: Sequence[str], count: int) -> PrintLine:
    """Print the heading of a table for ``files`` and classes ``names``, ``count`` predictions each."""
    first = max([len("picture"), *(columns(printable(str(file))) for file in files)])
    width = max(columns(printable(name)) for name in names)

    def padded(name: str, width: int) -> str:
        text = printable(name)
        return text + " " * (width - columns(text))

    def print_line(picture: str, predictions: Sequence["Prediction"]) -> None:
        shares = ((name, " " * 8 if isnan(p) else f"{100 * p:6.2f} %") for name, p in predictions)
        cells = [f"{padded(name, width)} {share}" for name, share in shares]
        print("  ".join([padded(picture, first), *cells]))

    headings = [f"{f'top-{rank}':<{width + 9}}" for rank in range(1, count + 1)]
    print("  ".join([f"{'picture':<{first}}", *headings]).rstrip())
    return print_line


def start_csv(count: int) -> PrintLine:
    """Print the heading of a CSV file with ``count`` predictions a line; no name in it is a formula."""
    writer = csv.writer(sys.stdout, lineterminator="\n")

    def print_line(picture: str, predictions: Sequence["Prediction"]) -> None:
        cells = [(csv_cell(one.name), f"{one.probability:.6f}") for one in predictions]
        writer.writerow([csv_cell(picture), *(text for cell in cells for text in cell)])

    names = [f"{what}_{rank}" for rank in range(1, count + 1) for what in ("class", "probability")]
    writer.writerow(["picture", *names])
    return print_line


def print_json(picture: str, predictions: Sequence["Prediction"]) -> None:
    classes = [{"class": name, "probability": None if isnan(p) else p} for name, p in predictions]
    print(json.dumps({"picture": picture, "classes": classes}))


@takes("checkpoint", type=Path, metavar="CHECKPOINT", help="data/checkpoints/<step>")
@takes("--format", choices=SUFFIXES, required=True, help="torch.export's .pt2, ONNX, or weights alone")
@takes("--output", type=Path, help="file to write (default: network.pt2, .onnx or .safetensors)")
def export(arguments: Namespace) -> None:
    """Write the network of a checkpoint directory for other programs: ONNX, torch.export, or weights alone.

    docs/exports.md has an example of such a program, and lists the metadata of the file.

    The command reads the file back and compares it with the network on a few images.
    """
    from der.inference import export as exports
    from der.model.checkpoint import load_checkpoint
    from der.pipeline.fingerprint import importing_named

    with importing_named():
        checkpoint = load_checkpoint(arguments.checkpoint)
    metadata = checkpoint.metadata
    path = arguments.output or Path(f"network{SUFFIXES[arguments.format]}")
    getattr(exports, f"export_{arguments.format}")(checkpoint.network, metadata, path)
    side, channels = metadata.image_side, metadata.channels
    print(
        f"{path}: images uint8 (batch, {side}, {side}, {channels}) to probabilities float32 "
        f"(batch, {len(metadata.class_names)}), compared with the network"
    )


@takes("--csv", metavar="FILE", type=Path, help="write the table, unrounded, to a CSV file, too")
@takes("--json", action="store_true", help="write JSON")
def compare(arguments: Namespace) -> None:
    """Compare the finished experiments of this commit: one row for every setting.

    Runs that differ only in train.seed and protocol.class_order share a row.
    """
    from der.pipeline.runs import compare_experiments

    print(compare_experiments(arguments.csv, as_json=arguments.json))


@takes(
    "-S",
    dest="settings",
    metavar="KEY=VALUE",
    action="append",
    default=[],
    help="as of `dvc exp run -S`; values with commas between them make a sweep",
)
@takes("--json", action="store_true", help="write JSON")
def plan(arguments: Namespace) -> None:
    """List the stages that `dvc repro` may run, or the rows of a sweep, with their seconds.

    The seconds are those of each stage's last run in this directory; a training with other epochs, or of a
    new step, is estimated from them. DVC restores results of earlier runs from its cache, so fewer stages may
    run than are listed, never more.
    """
    from der.pipeline.plan import describe_plan

    print(describe_plan(arguments.settings, as_json=arguments.json))


@takes("--repair", action="store_true", help="remove or restore damaged files")
def verify(arguments: Namespace) -> None:
    """Find damaged files among the results and in DVC's cache; --repair mends them.

    The next `dvc repro` restores removed files from the cache, or runs their stage. A damaged object of the
    cache is restored if the results have the same bytes. Do not use it while stages run. The exit status is
    1 if damage is left.
    """
    from der.pipeline import dvc, project

    damages = list(dvc.find_all_damage())
    for line in dvc.repair(damages) if arguments.repair else (damage.sentence for damage in damages):
        print(printable(line))
    if not damages:
        print("no damage")
    elif arguments.repair:
        print("now run `dvc repro`")
    else:
        sys.exit(f"error: {len(damages)} damaged; {project.MEND}")


# In the order of `der --help`.
EDITS = (preset, chain, add, remove, rename)
COMMANDS = (*EDITS, check, show, report, predict, export, compare, plan, verify)
