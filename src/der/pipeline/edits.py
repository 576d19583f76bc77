"""Checks and edits params.yaml and chain.yaml; plans the steps."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from der.core import files
from der.core.errors import DamageError, UserError, composed, naming, printable
from der.data.arrays import check_budget
from der.data.protocol import plan_steps
from der.data.sources import LATER, check_name
from der.data.sources.registry import find_source
from der.estimator.choices import backbone_side, check_channels, check_choices
from der.model.architecture import COLOURS, METADATA
from der.pipeline import dvc, environment, inputs, presets, project
from der.settings import parsing, sections
from der.settings.experiment import Settings

CHECKED = "model.json"  # in the scratch directory


def check_project(warn: Callable[[str], None]) -> None:
    """Raise UserError if a run of these parameters would fail; write what stages need to know of them."""
    settings = presets.load_settings()
    environment.find_listener()  # here, not with a training's output gone
    environment.count_processes()
    if os.environ.get(environment.DEVICE) not in (None, "", "cpu"):
        environment.find_device()  # can it work?
    side = check_model(settings)
    find_source(settings.dataset).check(settings.dataset)  # download would, with its output gone
    steps = planned_steps(settings)
    move = describe_move(settings, steps) if steps is not None else None
    if move:
        warn(printable(f"warning: {move}"))
    for phase in ("base", "incremental"):
        schedule = getattr(settings.train, phase)
        if late := [one for one in schedule.milestones if one >= schedule.epochs]:
            warn(f"warning: train.{phase}.milestones: {late} are not reached in {schedule.epochs} epochs")
    project.check_chain(len(steps or []), "der add" if move else None)
    if steps is None and settings.compress.steps == "last":
        fault = f"{project.PARAMS}: compress.steps: which step is the last one depends on the images"
        raise UserError(f"{fault}; write all, or name the classes of every step in protocol.steps")
    project.write_side(side)
    project.write_compression(project.plan_compression(settings.compress, len(steps) if steps else None))


def check_model(settings: Settings) -> int | None:
    """Check what names code, and network and images; return the side that the backbone asks for.

    A model of timm costs seconds: that it was right is kept for the same settings, weights and versions.
    """
    network, dataset = settings.network, settings.dataset
    values = [sections.to_values(one) for one in (dataset, network, settings.train, settings.memory)]
    found, of_timm = environment.scratch_root() / CHECKED, network.backbone.startswith("timm:")
    if of_timm:
        with suppress(DamageError, KeyError, metadata.PackageNotFoundError):
            file = Path(network.weights or "")
            state = (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else None
            key = files.digest(repr([values, state, *map(metadata.version, ("timm", "torch"))]).encode())
            kept: dict[str, int | None] = files.read_sealed(found)
            return kept[key]
    with naming(project.PARAMS):
        check_choices(settings)
        advice = f"write dataset.channels: {COLOURS}, or network.weights: null"
        check_channels(network, dataset.channels, advice)
        side = backbone_side(settings)
        if of_timm:  # does the model take the images?
            # Only now: torch costs seconds, which the name of the backbone has cost already.
            from der.model.network import try_side

            try_side(network, side or dataset.side, dataset.channels)
    check_weights(network)
    if of_timm:
        files.write_sealed(found, {key: side})
    return side


def complete_params() -> list[str]:
    """Add to params.yaml the keys that an older one lacks, with their defaults; return them.

    Stage check does this before all others: DVC knows no defaults, and fails where a stage's key is missing.
    """
    whole = sections.all_values(presets.load_settings())
    missing = parsing.list_missing(whole, project.read_params())
    if missing:
        project.write_text(parsing.put_values(project.read_text(), whole))
    return missing


def check_weights(settings: sections.NetworkSettings) -> None:
    """Raise UserError if the file holds no such weights, or if DVC does not track it."""
    if settings.weights in (None, sections.PRETRAINED):
        return
    path = Path(settings.weights)
    if not path.is_file():
        raise UserError(
            f"{project.PARAMS}: network.weights: there is no file {path}; put one into {project.WEIGHTS} and "
            f"write its path, or {sections.PRETRAINED}, or null"
        )
    watched = [Path(os.path.abspath(dep)) for dep in project.read_stages()["initialize"]["deps"]]
    if not any(Path(os.path.abspath(path)).is_relative_to(place) for place in watched):
        raise UserError(
            f"{project.PARAMS}: network.weights: DVC would not see an edit of {path}; put it, or a link to "
            f"it, into {project.WEIGHTS}, or add it to the deps of stage initialize in {project.GRAPH}: - "
            f"{path}"
        )
    from der.model.weights import read_start  # only now: torch costs seconds

    with naming(project.PARAMS):
        read_start(settings, settings.weights)


def check_images() -> None:
    """Raise UserError if dataset.path does not exist or overlaps with outputs: DVC would fail at once."""
    path = presets.load_settings().dataset.path
    for sentence in describe_missing_images(path):
        raise UserError(sentence)
    place = Path(os.path.abspath(path))
    for out in (out for stage in project.read_stages() for out in project.list_outputs(stage)):
        if place.is_relative_to(out.absolute()) or out.absolute().is_relative_to(place):
            fault = f"{path} holds what stages write, {out}, or lies in it"
            raise UserError(f"dataset.path: {fault}; name another place, data/images for one")


TRAINING = "train_task@"  # and the number of a step: its stage in DVC's graph
PLAN = "`der plan` lists what `dvc repro` runs"

Steps = list[list[str]]  # class names by step


def apply_preset(name: str, class_order: str | None = None) -> str:
    """Write preset ``name`` to params.yaml; return what changed."""
    old, length = project.read_params(), project.chain_length()
    changed = {one.key for one in project.compare(old, presets.load_preset(name, class_order))}
    own = project.value_at(old, "dataset.source") == inputs.FOLDER and "dataset.source" not in changed
    kept = [key for key, same in presets.OF_PHOTOS.items() if own and same not in changed]
    found = {key: project.value_at(old, key) for key in (*presets.PLACES, *kept)}
    new = presets.write_preset(name, {key: one for key, one in found.items() if one is not None}, class_order)
    values = parsing.parse_yaml(new, project.PARAMS)
    settings = project.parse_section(Settings, values, project.PARAMS)
    with naming(project.PARAMS):
        check_choices(settings)
    changes = list(project.compare(old, values))
    steps, protocol = planned_steps(settings), settings.protocol
    if steps is None and protocol.steps is None and protocol.first_classes is None:
        fitted = fit_chain(length, 1)  # whatever the classes are, step 1 has all
    else:
        fitted = fit_chain(length, len(steps) if steps else length)
    project.write_text(new)
    lines = [f"preset {name}: {len(changes)} values of {project.PARAMS} changed"]
    lines += [*(f"  {one}" for one in changes), *fitted, PLAN]
    lines += describe_missing_images(settings.dataset.path)
    return "\n".join(lines)


def describe_missing_images(path: str) -> list[str]:
    """Return a sentence if dataset.path does not exist: DVC would fail before any stage."""
    if path and Path(path).exists():
        return []
    missing = f"dataset.path: there is no {path or 'path without a name'}"
    return [f"{missing}, which DVC needs with every source; name an existing path, as data/images"]


def add_classes(names: Sequence[str]) -> str:
    """Add a step of the classes ``names``, by default all new ones, to the finished steps in params.yaml.

    Added steps that are not trained yet stay. An error changes nothing.
    """
    settings, length = presets.load_settings(), project.chain_length()
    finished = finished_steps()
    if not finished:
        raise UserError(f"{project.CHECKPOINTS}: no finished step to add to; run `dvc repro` first")
    before = settings.protocol.steps or finished
    steps = [*before, choose_classes(names, before, settings.dataset)]
    edited = parsing.put_values(project.read_text(), {"protocol": {"steps": steps}})
    planned_steps(presets.parse_settings(edited))  # raises what does not fit
    fitted = fit_chain(length, len(steps))
    project.write_text(edited)
    kept = "; the finished steps stay as they were" if before[: len(finished)] == finished else ""
    said = f"{project.PARAMS}: step {len(steps)} is {', '.join(steps[-1])}{kept}"
    return "\n".join([said, *fitted, PLAN])


def add_photos(names: Sequence[str]) -> str:
    """Move new photos of old classes into folders of their own, from which the newest step takes them.

    ``names`` are the classes; without any, they are all that earlier steps taught. An error moves nothing.
    """
    settings = presets.load_settings()
    if settings.network.tuned == "none":
        raise UserError("network.tuned: a frozen network learns new photos in seconds; run `dvc repro`")
    step, found = _new_photos(settings)
    if step < 2:
        raise UserError("protocol: no step came before the newest one; `dvc repro` trains it with new photos")
    wanted = {composed(name) for name in names} or found.keys()
    if missing := sorted(wanted - found.keys()) or ([] if found else ["dataset"]):
        fault = "no new photos of an earlier step's class, or its other files changed, too"
        raise UserError(f"{missing[0]}: {fault}; move new ones into a folder <class>@{step} yourself")
    moves = {
        photo: photo.parent.with_name(f"{photo.parent.name}@{step}") / photo.name
        for name in wanted
        for photo in found[name]
    }
    if there := next(filter(Path.exists, moves.values()), None):
        raise UserError(f"{there}: is there already; rename the new photo")
    for photo, target in moves.items():
        target.parent.mkdir(exist_ok=True)
        photo.rename(target)
    moved = (f"{name}: {len(found[name])} photos moved to {name}@{step}" for name in sorted(wanted))
    return "\n".join([*moved, PLAN])


def _new_photos(settings: Settings) -> tuple[int, dict[str, list[Path]]]:
    """Return the newest step that is taught or named, and the new photos of classes of earlier steps."""
    steps = settings.protocol.steps or finished_steps()
    old = {name for classes in steps[:-1] for name in classes}
    found = inputs.find_new_photos(settings.dataset)
    return len(steps), {name: photos for name, photos in found.items() if name in old}


def describe_photos(settings: Settings) -> list[str]:
    """Return a sentence on new photos for which old steps would train anew."""
    step, found = _new_photos(settings)
    if not found or settings.network.tuned == "none":
        return []
    return ["", f"with `der add --photos`, new photos of {', '.join(sorted(found))} train step {step} alone"]


def remove_classes(names: Sequence[str]) -> str:
    """Take classes out of the protocol in params.yaml; their images stay. An error changes nothing."""
    gone = {composed(name) for name in names}
    steps = _known_steps(gone)
    kept = [left for step in steps if (left := [name for name in step if name not in gone])]
    if not kept:
        raise UserError("these are all classes; leave at least one")
    return _write_steps(kept, f"without {', '.join(sorted(gone))}, whose images stay")


def rename_class(old: str, new: str) -> str:
    """Rename a class in the protocol and its folders of images. An error changes nothing."""
    old, new = composed(old), composed(new)
    steps, dataset = _known_steps({old}), presets.load_settings().dataset
    root, known = Path(dataset.path), [name for step in steps for name in step]
    if dataset.source != inputs.FOLDER or not root.is_dir():
        raise UserError("dataset.source: only classes that are folders can be renamed")
    every = [place for split in sections.SPLITS for place in (root / split).glob("*") if place.is_dir()]
    names = {one: composed(one.name) for one in every}
    later = {one: found[1] for one, name in names.items() if (found := LATER.fullmatch(name))}
    folders = {one: new + names[one][len(old) :] for one in every if old in (names[one], later.get(one))}
    check_name(new)
    if LATER.fullmatch(new):
        raise UserError(f"{new}: @ marks photos for a later step; give another name")
    if new in known or any(one.with_name(name).exists() for one, name in folders.items()):
        raise UserError(f"{new}: there is such a class; put the images of {old} into its folder")
    renamed = [[new if name == old else name for name in step] for step in steps]
    said = _write_steps(renamed, f"{old} is {new}")
    for folder, name in folders.items():
        folder.rename(folder.with_name(name))
    return said


def _known_steps(names: set[str]) -> Steps:
    """Return the classes of each step; raises UserError for a name that is in none. Folders may be gone."""
    settings = presets.load_settings()
    steps = settings.protocol.steps or planned_steps(settings) or []
    if not names <= {name for step in steps for name in step}:
        steps = finished_steps()
    known = [name for step in steps for name in step]
    if missing := sorted(names - {*known}):
        raise UserError(f"{missing[0]}: is in no step; the classes are {', '.join(known)}")
    return steps


def _write_steps(steps: Steps, said: str) -> str:
    """Write the classes of each step into params.yaml; return ``said`` with what that costs."""
    settings, length = presets.load_settings(), project.chain_length()
    edited = parsing.put_values(project.read_text(), {"protocol": {"steps": steps}})
    presets.parse_settings(edited)  # raises what does not fit
    fitted = fit_chain(length, len(steps))
    project.write_text(edited)
    costs = "trains the steps that knew the class, and all after them, anew; `der plan` says what that takes"
    if settings.network.tuned == "none":
        costs = "fits the classifiers anew, which takes seconds; no feature is computed again"
    return "\n".join([f"{project.PARAMS}: {said}", *fitted, f"`dvc repro` {costs}"])


def finished_steps() -> Steps:
    """Read the steps of the newest checkpoint from its network.json; empty if no step is finished."""
    placed = (project.checkpoint(step) / METADATA for step in project.steps_in(project.CHECKPOINTS))
    finished = [file for file in placed if file.exists()]
    return files.read_json(finished[-1])["steps"] if finished else []


def choose_classes(names: Sequence[str], before: Steps, dataset: sections.DatasetSettings) -> list[str]:
    """Choose the classes of the new step: ``names``, or all classes that are in no step of ``before``."""
    known = {name: step for step, classes in enumerate(before, start=1) for name in classes}
    chosen = list(dict.fromkeys(composed(name) for name in names))
    for name in chosen:
        if name in known:
            raise UserError(f"{name}: in step {known[name]} already; name classes that are new")
    if chosen:
        return chosen
    found = find_source(dataset).list_names(dataset)
    if not found:
        raise UserError("dataset: its classes cannot be listed; name the new ones, `der add NAME ...`")
    if not (new := [name for name in found if name not in known and not LATER.fullmatch(name)]):
        raise UserError("dataset: every class is in a step already; put images of a new one there")
    return new


def describe_move(settings: Settings, planned: Steps) -> str | None:
    """Return a warning if new classes among the images move known classes to other steps, else None."""
    if find_source(settings.dataset).classes is not None or settings.protocol.steps is not None:
        return None
    finished = finished_steps()
    known = {name for step in finished for name in step}
    here = {name for step in planned for name in step}
    read_last = {path.stem for path in (project.RAW / "train").glob("*.npy")}
    new = sorted(here - known - read_last)
    if not finished or not new or not known <= here or planned[: len(finished)] == finished:
        return None
    first = next(step for step, names in enumerate(finished, 1) if planned[step - 1] != names)
    return (
        f"new classes ({', '.join(new)}) move known ones to other steps: step {first} and all after it train "
        "anew; to keep them, stop here and run `der add`, which makes one more step of what is new"
    )


def fit_chain(length: int, steps: int) -> list[str]:
    """Change chain.yaml from ``length`` to ``steps`` steps; return what to print."""
    if steps == length:
        return []
    resize(steps)
    return [f"{project.CHAIN}: {length} -> {steps} steps"]


def resize_chain(length: int | None) -> int:
    """Give chain.yaml ``length`` steps, by default the protocol's, never fewer; return how many it has."""
    steps = planned_steps(presets.load_settings())
    if length is None and steps is None:
        raise UserError("protocol: the images decide how many steps it has; write how many, `der chain N`")
    least = max(1, len(steps or []))
    if length is not None and length < least:
        fault = f"{least} steps, which {length} would cut off"
        raise UserError(f"protocol: {fault}; shorten it in {project.PARAMS} first")
    resize(length or least)
    return length or least


def resize(length: int) -> None:
    """Write chain.yaml for ``length`` steps and remove the outputs of later steps from the workspace.

    Otherwise they would be inputs of summarize and report, which read whole folders. Raises UserError, and
    changes nothing, if DVC's cache lacks such an output, because it could not be restored.
    """
    steps = {step for output in project.outputs(length) for step in project.steps_in(output.parent)}
    later = sorted(step for step in steps if step > length)
    left = [output for step in later for output in project.outputs(step) if output.exists()]
    results = [output for output in left if not _is_marker(output)]
    try:
        cache = dvc.find_cache() if results else None
    except (ModuleNotFoundError, UserError):
        cache = None  # without DVC nothing can be restored
    for output in results:
        if cache is None or not dvc.holds(cache, output):
            raise UserError(
                f"{output}: past the end of a chain of {length} steps, and not in DVC's cache; move it away, "
                f"or run `dvc commit -f` while {project.PARAMS} and {project.CHAIN} are those that made it"
            )
    project.write_chain(length)
    for output in left:
        files.remove(output)


def _is_marker(output: Path) -> bool:
    try:
        return project.is_unused(output)
    except DamageError:
        return False


def planned_steps(settings: Settings) -> Steps | None:
    """Find the class names of every step; None if only the images decide. Raises UserError if impossible."""
    dataset, protocol = settings.dataset, settings.protocol
    with naming(project.PARAMS):
        names = find_source(dataset).list_names(dataset)
        if not names:  # then those that the protocol names, if it names all that it teaches
            listed = [protocol.class_order] if protocol.steps is None else protocol.steps
            rows = [row for row in listed if isinstance(row, list)]
            names = sorted({one for row in rows for one in row if isinstance(one, str)})
        if not names:
            return None
        check_budget(settings.memory, sum(map(len, steps := plan_steps(names, protocol))))
    return steps
