"""Knows where every artifact lies, and reads dvc.yaml, chain.yaml and params.yaml."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from io import StringIO
from itertools import groupby, starmap
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from ruamel.yaml import YAML

from der.core import files
from der.core.errors import DamageError, UserError, naming
from der.settings import parsing
from der.settings.sections import SPLITS, CompressSettings, DatasetSettings, Section, to_values

MEND = "run `der verify --repair`, then `dvc repro`"  # what to do about damage
PARAMS = Path("params.yaml")
GRAPH = Path("dvc.yaml")
CHAIN = Path("chain.yaml")
FINGERPRINTS = Path("data/fingerprints")
INPUT = Path("data/input.json")
COMPRESS = Path("data/compress")
WEIGHTS = Path("data/weights")
RAW = Path("data/raw")
TASKS = Path("data/tasks")
FEATURES = Path("data/features")
NETWORK = FEATURES / "network"  # a frozen one, without classes
CHECKPOINTS = Path("data/checkpoints")
MADE_OF = Path("data/made_of")
SUMMARY = Path("metrics/summary.json")
PLOTS = Path("metrics/plots")
REPORT = Path("metrics/report.html")
COMPARISON = Path("metrics/comparison.html")

STEP_STAGES = ("train_task", "build_memory", "evaluate", "compress")
OUTPUTS = ("outs", "metrics")  # the keys of outputs in dvc.yaml
MARKER = "unused.json"  # the only file of an output of a step past the protocol's last
WHOLE = 1 << 20  # bytes; larger files are not hashed, because that would take longer than some stages
CLASSES = "classes.json"  # which split keeps beside a step's images
HEADER = """\
# The numbered steps of dvc.yaml's train_task, build_memory, evaluate and compress: the longest protocol that
# `dvc repro` can run. Written by `der chain`: as long as the protocol in params.yaml, or longer, for a sweep;
# a number past a protocol's last step costs four stages of about a second each, which leave markers.
# DVC reads unquoted numbers as no stages at all.
"""


def fingerprint(stage: str) -> Path:
    """The fingerprint of a stage's code: a line for every module."""
    return FINGERPRINTS / stage


def _of_step(folder: Path, *below: str) -> Callable[[int], Path]:
    return lambda step: folder.joinpath(str(step), *below)


train_images = _of_step(TASKS, "train")  # of a step's classes, and the names of all classes seen
test_images = _of_step(TASKS, "test")  # of all classes seen at a step, and their names
checkpoint = _of_step(CHECKPOINTS)  # step 0 is the empty network
memory = _of_step(Path("data/memory"))  # exemplars after a step; step 0 is the empty memory
training = _of_step(Path("metrics/training"))  # loss and accuracy per epoch
evaluation = _of_step(Path("metrics/steps"))  # test metrics, confusion matrix, predictions, mistakes
compressed = _of_step(Path("data/compressed"))  # checkpoint of one extractor, which the network became
compression = _of_step(Path("metrics/compressed"))  # test metrics of that one, and of the whole network
RESULTS = (checkpoint, memory, training, evaluation, compressed, compression)


def features(images: Path) -> Path:
    """A frozen network's features of the training or test images of all classes seen at a step."""
    return FEATURES / images.relative_to(TASKS)


def is_compressed(step: int) -> bool:
    return compression(step).exists() and not is_unused(compression(step))


def made_of(stage: str) -> Path:
    """What ``stage``, train_task@2, was given when it began: an output that no other stage reads."""
    return MADE_OF / f"{stage.replace('@', '_')}.json"


def outputs(step: int) -> list[Path]:
    """All that the stages of a step leave."""
    return [of(step) for of in RESULTS] + [made_of(f"{stage}@{step}") for stage in STEP_STAGES]


def steps_in(folder: Path) -> list[int]:
    """List the steps in ``folder``, ascending; people and killed runs leave other entries, as "4_old"."""
    names = (path.name for path in folder.glob("*"))
    return sorted({int(name) for name in names if name.isdecimal() and name == str(int(name))})


def sealed(length: int) -> list[Path]:
    """List the output directories with a manifest, for a chain of ``length`` steps."""
    found = [*(RAW / split for split in SPLITS), checkpoint(0), memory(0), NETWORK]
    for step in range(1, length + 1):
        images = train_images(step), test_images(step)
        found += [*images, *map(features, images), *(of(step) for of in RESULTS)]
    return found


def chain_length() -> int:
    """Return the number of steps in chain.yaml; raises UserError if it is missing or damaged."""
    try:
        content = parsing.parse_yaml(CHAIN.read_text(encoding="utf-8"), CHAIN)
        length = len(content["steps"])
        if length and content == {"steps": _links(length)}:
            return length
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise UserError(f"{CHAIN}: missing or damaged; run `der chain`")


def _links(length: int) -> dict[str, dict[str, Any]]:
    """Make the entries of chain.yaml: each step's predecessor and its section of train."""
    return {
        str(step): {"previous": step - 1, "phase": "base" if step == 1 else "incremental"}
        for step in range(1, length + 1)
    }


def check_chain(steps: int, mend: str | None = None) -> None:
    """Raise UserError, with the command ``mend``, if chain.yaml is damaged or shorter than ``steps``."""
    length = chain_length()
    if steps > length:
        raise UserError(
            f"protocol: {steps} steps, but {CHAIN} holds {length}; run `{mend or f'der chain {steps}'}`"
        )


def write_chain(length: int) -> None:
    form = '  "{}": {{previous: {previous}, phase: {phase}}}\n'
    lines = [form.format(step, **link) for step, link in _links(length).items()]
    with files.atomic_file(CHAIN) as partial:
        partial.write_text(HEADER + "steps:\n" + "".join(lines), encoding="utf-8")


def write_classes(images: Path, steps: list[list[str]]) -> None:
    """Write the class names of the steps so far into a directory of a step's images."""
    files.write_json(images / CLASSES, {"steps": steps})


def read_task(images: Path, step: int) -> list[list[str]]:
    """Read the class names of the steps up to ``step``; raises UserError for another step's images."""
    steps: list[list[str]] = files.SealedDirectory(images).read_json(CLASSES)["steps"]
    if len(steps) != step:
        raise UserError(f"{images / CLASSES}: not the classes of {step} steps; run `dvc repro`")
    return steps


def read_stages() -> dict[str, Any]:
    """Read dvc.yaml's entry of every stage, by name; callers must not change it."""
    return _parse(GRAPH.read_text(encoding="utf-8"))


@cache  # it takes a twentieth of a second
def _parse(text: str) -> dict[str, Any]:
    stages: dict[str, Any] = parsing.parse_yaml(text, GRAPH)["stages"]
    return stages


def read_names(content: dict[str, Any], *kinds: str) -> list[str]:
    """List a stage's entries under ``kinds``, "deps" or "outs": paths or keys, without their options."""
    entries = [entry for kind in kinds for entry in content.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def list_stages() -> dict[str, list[str]]:
    """List the names of all stages by their name in dvc.yaml, one per step of the chain."""
    steps = range(1, chain_length() + 1)
    return {
        name: [f"{name}@{step}" for step in steps] if "foreach" in stage else [name]
        for name, stage in read_stages().items()
    }


def stages_of(last: int) -> list[str]:
    """List the stages of a protocol of ``last`` steps by their names in DVC's graph, in the order of a run.

    The stages of a step are neighbours in dvc.yaml; all of a step come before all of the next.
    """
    stages: list[str] = []
    for repeated, group in groupby(list_stages().values(), lambda names: "@" in names[0]):
        rows = [names[:last] for names in group]
        stages += [stage for row in (zip(*rows, strict=True) if repeated else rows) for stage in row]
    return stages


def mark_unused(stage: str, step: int, *outputs: Path, why: str = "not in the protocol") -> str:
    """Write a marker as each output, with the same bytes every time; ``why`` goes into the sentence."""
    for output in outputs:
        with files.sealed_directory(output) as directory:
            files.write_json(directory / MARKER, {"unused": True})
    return f"{stage} {step}: {why}, nothing to do"


def is_unused(output: Path) -> bool:
    """Tell whether an output is a marker; raises DamageError if it is damaged."""
    return MARKER in files.SealedDirectory(output).digests


def list_outputs(stage: str) -> list[Path]:
    """List the outputs of ``stage`` in the graph; raises UserError if it has none."""
    name, _, key = stage.partition("@")
    content = read_stages().get(name)
    if content is None:
        raise UserError(f"{GRAPH}: no stage {name}; restore it with `git checkout {GRAPH}`")
    named = read_names(content.get("do", content), *OUTPUTS)
    return [Path(one.replace("${key}", key)) for one in named]


def list_inputs(stage: str, parameters: Any) -> tuple[list[str], list[Path]]:
    """The keys of params.yaml and the paths that ``stage`` depends on, as the graph has them."""
    name, _, key = stage.partition("@")
    content = read_stages()[name]
    content = content.get("do", content)
    values: dict[str, Any] = {"key": key, "as_text": ""}
    if key:
        values |= {f"item.{one}": value for one, value in _links(int(key))[key].items()}

    def fill(text: str) -> str:
        return re.sub(
            r"\$\{([\w.]+)\}", lambda found: str(values.get(found[1], value_at(parameters, found[1]))), text
        )

    keys, deps = read_names(content, "params"), read_names(content, "deps")
    return [fill(one) for one in keys], [Path(fill(one)) for one in deps]


def digest_outputs(stage: str) -> str:
    return digest_files(output for output in list_outputs(stage) if output != made_of(stage))


def digest_files(outputs: Iterable[Path]) -> str:
    """Digest files and directories by their manifests, which hold the digests of all files.

    For directories without a manifest, it uses names and sizes of the files, and contents of small ones.
    Missing files count as nothing.
    """
    digest = hashlib.sha256()
    for file in sorted(file for output in outputs for file in _telling(output)):
        size = file.stat().st_size
        digest.update(f"{file.as_posix()}\0{size}\0".encode(errors="surrogateescape"))
        if size <= WHOLE or file.name == files.MANIFEST:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _telling(output: Path) -> Iterator[Path]:
    if (output / files.MANIFEST).is_file():
        yield output / files.MANIFEST
    elif output.is_dir():
        for path in output.iterdir():
            yield from _telling(path)
    elif output.is_file():
        yield output


S = TypeVar("S", bound=Section)

FIRST = 3  # entries of a long list that are shown
SHOWN, SHOWN_INSIDE = 60, 30  # characters of a value, and of each in a list


def load_section(kind: type[S], key: str, parameters: Any) -> S:
    """The section ``key`` of all ``parameters``; raises UserError that names the wrong key."""
    return parse_section(kind, value_at(parameters, key), PARAMS, key)


def parse_section(kind: type[S], content: Any, path: Path, *keys: str) -> S:
    """Check ``content``, found at ``keys`` in the file ``path``, and make it a section."""
    with naming(path):
        return parsing.parse(kind, content, ".".join(keys))


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read all values of params.yaml as DVC does; raises UserError if it holds none."""
    content = parsing.parse_yaml(read_text(path), path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys and values; restore it with `git checkout {path}`")
    return content


def read_text(path: Path = PARAMS) -> str:
    """Read the text of params.yaml; raises UserError if that fails."""
    return parsing.read_text(path, "run from the repository's root")


def write_text(text: str) -> None:
    with files.atomic_file(PARAMS) as partial:
        partial.write_text(text, encoding="utf-8")


def write_side(side: int | None) -> None:
    """Write the backbone's image side, or None if params.yaml sets one; do not touch an unchanged file."""
    if not holds(INPUT, {"image_side": side}):
        files.write_sealed(INPUT, {"image_side": side})


def holds(path: Path, values: dict[str, Any]) -> bool:
    """Tell whether a file that stage check writes is whole and holds ``values``."""
    try:
        return bool(files.read_sealed(path) == values)
    except DamageError:
        return False


def plan_compression(settings: CompressSettings, last: int | None) -> dict[Path, dict[str, Any]]:
    """Return what stage check writes of section compress: a file for each step, empty where it is off.

    So other steps stay where one more is compressed. ``last`` is the protocol's last step, None if only the
    images tell.
    """
    steps = range(1, chain_length() + 1)
    wanted = {"all": steps, "last": [last]}.get(settings.steps or "", [])
    values = to_values(replace(settings, steps=None))
    return {COMPRESS / f"{step}.json": values if step in wanted else {} for step in steps}


def write_compression(contents: dict[Path, dict[str, Any]]) -> None:
    """Write ``plan_compression``; do not touch an unchanged folder."""
    if {*COMPRESS.glob("*")} != contents.keys() or not all(starmap(holds, contents.items())):
        with files.atomic_directory(COMPRESS) as directory:
            for path, values in contents.items():
                files.write_sealed(directory / path.name, values)


def read_compression(step: int) -> CompressSettings | None:
    """Read the settings with which the network after ``step`` is compressed; None: it is not."""
    values = files.read_sealed(COMPRESS / f"{step}.json")
    return parsing.parse(CompressSettings, values) if values else None


def with_side(settings: DatasetSettings) -> DatasetSettings:
    """Replace an ``image_side`` of null by the side that stage check wrote; raises UserError without one."""
    if settings.image_side is not None:
        return settings
    if (side := files.read_sealed(INPUT)["image_side"]) is None:
        raise UserError(f"{INPUT}: holds no side; run `dvc repro`, without --single-item")
    return replace(settings, image_side=side)


class Change(NamedTuple):
    """A value of params.yaml, before and after."""

    key: str  # dotted path
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {shorten(self.old)} -> {shorten(self.new)}"


def compare(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """Yield every value that differs between two nested dictionaries at the path ``key``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from compare(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield Change(key, old, new)


def value_at(content: Any, key: str) -> Any:
    """Return the value at a dotted path of nested dictionaries, or None."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def shorten(value: Any, longest: int = SHOWN) -> str:
    """Write a value as YAML in one line; a long list is cut to its first entries and its length."""
    if not isinstance(value, list) or len(one_line(value)) <= longest:
        return one_line(value)
    entries = [
        shorten(one, SHOWN_INSIDE) if isinstance(one, list) else one_line([one])[1:-1]
        for one in value[:FIRST]
    ]
    return f"[{', '.join(entries)}{f', ... {len(value)} in all' if len(value) > FIRST else ''}]"


def one_line(value: Any) -> str:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = 2**31  # no line is longer
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")
