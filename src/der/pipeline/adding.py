"""Classes that arrive later, as one more step: what is finished stays as it is, and is not trained again."""

import unicodedata
from collections.abc import Sequence

from der.core.errors import UserError
from der.core.serialization import read_json
from der.core.yaml_document import yaml_editor
from der.core.yaml_text import parse_yaml
from der.data.sources.registry import find_source
from der.model import METADATA
from der.pipeline.applying import fit_chain
from der.pipeline.chain import chain_length
from der.pipeline.editing import put_values
from der.pipeline.lockfile import LOCK, read_lock, stages_to_run
from der.pipeline.params import read_text, write_text
from der.pipeline.paths import CHECKPOINTS, PARAMS, RAW, checkpoint, steps_in
from der.pipeline.planning import planned_steps
from der.pipeline.settings import load_settings, parse_settings
from der.settings.dataset import DatasetSettings
from der.settings.experiment import Settings

TRAINING = "train_task@"  # and the number of a step: its stage in DVC's graph

Steps = list[list[str]]  # class names in label order, by the step that brings them


def add_classes(names: Sequence[str]) -> str:
    """Write the finished steps, and one of the classes ``names``, by default all new ones, into params.yaml.

    Steps that were written there on top of the finished ones, and not trained yet, stay between them.
    Returns what `dvc repro` then trains. Raises UserError, and changes nothing, if no step is finished, a
    class is unknown or known already, or the parameters do not allow for it.
    """
    text, settings, length = read_text(), load_settings(), chain_length()
    finished = finished_steps()
    if not finished:
        raise UserError(f"{CHECKPOINTS}: no finished step to add to; run `dvc repro` first")
    before = _steps_before(finished, settings.protocol.steps or [])
    steps = [*before, choose_classes(names, before, settings.dataset)]
    edited = put_steps(text, steps)
    planned_steps(parse_settings(edited))  # raises what does not fit
    fitted = fit_chain(length, len(steps))
    write_text(edited)
    lines = [
        f"{PARAMS}: step {len(steps)} is {', '.join(steps[-1])}; {_describe_kept(len(finished))}",
        *fitted,
        _describe_training(edited, len(finished) + 1, len(steps)),
    ]
    return "\n".join(lines)


def finished_steps() -> Steps:
    """The steps of the newest checkpoint, by its network.json; none where no step is finished."""
    files = [checkpoint(step) / METADATA for step in steps_in(CHECKPOINTS)]
    finished = [file for file in files if file.exists()]
    if not finished:
        return []
    newest = finished[-1]
    content = read_json(newest)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, list):
        raise UserError(f"{newest}: not a DER checkpoint; run `dvc repro`")
    return steps


def _steps_before(finished: Steps, named: Steps) -> Steps:
    """The steps that come before a new one: those that params.yaml names, if it goes on from the finished."""
    return named if named[: len(finished)] == finished else finished


def choose_classes(names: Sequence[str], before: Steps, dataset: DatasetSettings) -> list[str]:
    """The classes of the new step: ``names``, or all of the data set that are in none of those before."""
    known = {name: step for step, classes in enumerate(before, start=1) for name in classes}
    chosen = list(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))
    for name in chosen:
        if name in known:
            raise UserError(f"{name}: in step {known[name]} already; name classes that are new")
    if chosen:
        return chosen
    found = find_source(dataset).list_names(dataset)
    if not found:
        raise UserError("dataset: only its images tell which classes are new; name them, `der add NAME ...`")
    if not (new := [name for name in found if name not in known]):
        raise UserError("dataset: every class is in a step already; put images of a new one there")
    return new


def put_steps(text: str, steps: Steps) -> str:
    """The text of params.yaml with explicit steps, everything else as it is."""
    parse_yaml(text, PARAMS)  # ruamel has no one error for all that can be wrong
    values = yaml_editor().load(text)
    values["protocol"]["steps"] = steps
    return put_values(text, values)


def _describe_training(text: str, first: int, last: int) -> str:
    """What trains, where the steps ``first`` to ``last`` are those that no checkpoint has."""
    trained = [one for one in stages_to_run(parse_yaml(text, PARAMS)) if one.startswith(TRAINING)]
    stages, steps = f"{TRAINING}{first}", f"step {first}"
    if last > first:
        stages, steps = f"{stages} to @{last}", f"steps {first} to {last}"
    if any(one != stages for one in trained):
        return f"`dvc repro` trains {', '.join(trained)}, for {_why_others_train(first)}"
    return f"`dvc repro` trains {steps}, and no other while the images of the others are the same"


def _why_others_train(first: int) -> str:
    """Why steps before ``first``, which have checkpoints, are trained anew."""
    if read_lock().keys() >= {f"{TRAINING}{step}" for step in range(1, first)}:
        return "other parameters have changed, too"
    return (
        f"{LOCK} does not record all finished steps, as after `python -m stages`; to keep them, take the "
        "edit back and run `dvc commit -f` before `der add`"
    )


def _describe_kept(steps: int) -> str:
    return "step 1 stays as it was" if steps == 1 else f"steps 1 to {steps} stay as they were"


def describe_move(settings: Settings, planned: Steps) -> str | None:
    """A sentence if classes that are new among the images move those of finished steps; else None."""
    if find_source(settings.dataset).classes is not None or settings.protocol.steps is not None:
        return None
    finished = finished_steps()
    known = {name for step in finished for name in step}
    here = {name for step in planned for name in step}
    new = sorted(here - known - _classes_before())
    if not finished or not new or not known <= here or planned[: len(finished)] == finished:
        return None
    first = next(step for step, names in enumerate(finished, 1) if planned[step - 1] != names)
    return (
        f"known classes move, for {', '.join(new)} come among them: step {first} and all after it train "
        "anew; to keep them, stop here and run `der add`, which makes one more step of what is new"
    )


def _classes_before() -> set[str]:
    """The classes of the images that were read last."""
    return {path.stem for path in (RAW / "train").glob("*.npy")}
