"""Keeping the results of a finished run of a preset in results/."""

import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from der.common.errors import UserError
from der.common.serialization import read_json, write_json
from der.data.protocol import plan_steps
from der.project.applying import CLASSES
from der.project.editing import Change, check_text, compare, put_values, read_params
from der.project.lockfile import LOCK, changes_since, read_lock
from der.project.params import load_settings
from der.project.paths import PARAMS, SUMMARY
from der.project.presets import ORDERS, PLACES, list_names, load_order, load_preset
from der.project.provenance import check_training
from der.settings.experiment import Settings
from der.settings.protocol import ProtocolSettings
from der.summary.series import Summary

RESULTS = Path("results")
FREE = (*PLACES, "train.seed", "protocol.class_order")  # in which a run may differ from its preset
CODE = ("src", "stages", "dvc.yaml", "presets")


def record_run(name: str) -> str:
    """Write results/<preset>-<order>-seed<k>.json; raises UserError if the run is not of the preset."""
    settings = load_settings()
    check_preset(name, settings)
    summary: Summary = read_json(SUMMARY)
    check_steps(summary, settings)
    check_training(len(summary["steps"]), settings)
    check_stages()
    order, seed = name_order(settings.protocol), settings.train.seed
    path = RESULTS / f"{name}-{order}-seed{seed}.json"
    record = {
        "preset": name,
        "seed": seed,
        "class_order": order,
        "revision": git_revision(),
        "machine": describe_machine(),
        "metrics": summary,
    }
    write_json(path, record)
    return f"{path}: average top-1 {summary['average_top1']:.2f} %, last {summary['last_top1']:.2f} %"


def check_preset(name: str, settings: Settings) -> None:
    """Raise UserError unless ``settings`` are those of preset ``name``, seed and class order aside."""
    expected = check_text(put_values(read_params(), load_preset(name)))
    for change in compare(asdict(settings), asdict(expected)):
        if not change.key.startswith(FREE):
            other = Change(f"{PARAMS}: not preset {name}, which changes {change.key}", change.old, change.new)
            raise UserError(f"{other}; run `der preset {name}`, then `dvc repro`")


def check_steps(summary: Summary, settings: Settings) -> None:
    """Raise UserError if ``summary`` is not of this protocol: of another run, or of an unfinished one."""
    found = [step["classes"] for step in summary["steps"].values()]
    names = [str(number) for number in range(CLASSES.get(settings.dataset.source, found[-1]))]
    steps = plan_steps(names, replace(settings.protocol, class_order="alphabetical"))
    expected = [sum(map(len, steps[:number])) for number in range(1, len(steps) + 1)]
    if found != expected:
        raise UserError(
            f"{SUMMARY}: of {found} classes over the steps, but {PARAMS} has {expected}; "
            "run `dvc repro` first"
        )


def check_stages() -> None:
    """Raise UserError if DVC ran a stage with other parameters than params.yaml has.

    Where DVC ran none there is nothing to compare: `python -m stages` leaves no lock.
    """
    ran, parameters = read_lock(), yaml.safe_load(read_params())
    for stage in ran:
        for change in changes_since(ran, stage, parameters):
            raise UserError(
                f"{LOCK}: {stage} ran with other parameters than {PARAMS} has, {change}; run `dvc repro` "
                "first, or `dvc commit -f` after `python -m stages`"
            )


def name_order(protocol: ProtocolSettings) -> str:
    """A short name for the order of the classes; raises UserError for a list that has none."""
    order = protocol.class_order
    if isinstance(order, str):
        return order
    if isinstance(order, int):
        return f"random{order}"
    if isinstance(order[0], int):
        return "random-list" + "-".join(map(str, order))
    for name in list_names(ORDERS):
        if list(load_order(name)) == order:
            return name
    raise UserError(f"{PARAMS}: protocol.class_order is no list of {ORDERS}; add it there, under a name")


def git_revision() -> str:
    """The commit checked out, with "-dirty" if code differs from it; params.yaml is the preset's."""
    changed = _git("status", "--porcelain", "--", *CODE)
    return _git("rev-parse", "HEAD") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UserError("git: no revision found; run in a clone of the repository") from None
    return done.stdout.strip()


def describe_machine() -> dict[str, str]:
    """The processor or GPU that the stages use here, and torch's version."""
    # Only now: torch costs seconds.
    import torch

    from der.common.device import choose_device, processor_name

    device = choose_device(os.environ.get("DER_DEVICE"))
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor_name()} ({device.type})"
    )
    return {"device": name, "torch": torch.__version__}
