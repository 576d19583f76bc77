"""features: the features of all images under a frozen network, which every image goes through once.

If the network learns, the stage leaves markers. It takes what earlier runs computed of the same images.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from der.core import errors, files
from der.data.arrays import class_file, list_classes, read_classes
from der.model.checkpoint import load_start, save_checkpoint
from der.model.records import Records, read_records
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_stage
from der.settings.sections import NetworkSettings, TrainSettings, to_values

GROUP = 512  # images that are computed before they are kept for a run that goes on from here
MONTH = 30 * 24 * 3600.0  # seconds
PAUSE = 10.0  # seconds between signs of progress


def run(given: Given) -> str:
    settings, steps = given.section(NetworkSettings, "network"), len(project.steps_in(project.TASKS))
    used = 0
    if settings.tuned == "none":
        used = sum(not project.is_unused(project.train_images(step)) for step in range(1, steps + 1))
    with files.atomic_directory(project.FEATURES) as directory:
        sentence = compute(directory, used, settings, given) if used else "the network learns, nothing to do"
        for step in range(used + 1, steps + 1):
            for images in (project.train_images(step), project.test_images(step)):
                project.mark_unused("features", step, directory / images.relative_to(project.TASKS))
        if not used:
            project.mark_unused("features", 0, directory / project.NETWORK.name)
        given.confirm()
    return f"features: {sentence}"


def compute(directory: Path, steps: int, settings: NetworkSettings, given: Given) -> str:
    """Write the features of all ``steps`` into ``directory``, of which those of old classes are links."""
    from der.core.device import name_arithmetic  # only now: torch costs seconds
    from der.model.features import FrozenFeatures, start_frozen
    from der.train.convex import count_views

    device, base = environment.set_up_device(), project.train_images(1)
    given.load(device.type)
    classes = read_classes(base, project.read_task(base, 1)[0])
    start, digest = load_start(project.checkpoint(0)), files.SealedDirectory(project.checkpoint(0)).digest
    assert start is not None  # section network demands weights of what is frozen
    checkpoint = start_frozen(settings, classes, start)
    decisive = [to_values(checkpoint.metadata), name_arithmetic(device), digest, given.text]
    key = files.digest(repr(decisive).encode())
    store = environment.scratch_root() / f"features-{key[:32]}"
    remove_old(store)
    passes = FrozenFeatures(checkpoint.network, checkpoint.metadata.normalization, device, read_store(store))
    views = count_views(given.section(TrainSettings, "train"))
    with environment.computing("features", device), tqdm(desc="features", unit=" images") as bar:
        bar.mininterval = bar.mininterval if sys.stderr.isatty() else PAUSE
        kinds = (project.train_images, views), (project.test_images, 1)
        for step, (of, count) in product(range(1, steps + 1), kinds):
            names = project.read_task(of(step), step)[-1]
            if of == project.train_images:
                names = list_classes(of(step))  # and old classes of which there are more images
            before, place = (directory / of(one).relative_to(project.TASKS) for one in (step - 1, step))
            old = files.SealedDirectory(before).digests if step > 1 else {}
            kept = {name: old[name] for name in old.keys() - {*map(class_file, names)}}
            classes = read_classes(of(step), names)
            size = max(1, GROUP // max(map(len, classes)))
            with files.sealed_directory(place, kept) as folder:
                for name in kept:
                    files.link_or_copy(before / name, folder / name)
                for first in range(0, len(names), size):
                    some = passes.records(classes[first : first + size], count)
                    for file, records in zip(map(class_file, names[first : first + size]), some, strict=True):
                        known = [files.SealedDirectory(before).read_array(file)] if file in old else []
                        files.write_array(folder / file, np.concatenate([*known, records]))
                        bar.update(len(records))
                    keep(store, passes.new)
    save_checkpoint(directory / project.NETWORK.name, checkpoint)
    return f"{passes.computed} views of {bar.n:,} images were new"


# In the scratch directory, what was computed waits for runs that need it again, or go on after an
# interruption. No result depends on it.


def keep(store: Path, new: list[Records]) -> None:
    """Move the ``new`` records to the store."""
    while new:
        records = new.pop()
        name = files.digest(records["image"].tobytes())[:32]
        with files.sealed_directory(store / f"{name}-{records['features'].shape[1]}") as folder:
            files.write_array(folder / "records.npy", records)


def read_store(store: Path) -> Iterator[Records]:
    """Read the records of images in the store, without damaged ones."""
    for place in sorted(store.glob("*-[12]")):
        with suppress(errors.DamageError):
            yield from read_records(place).values()


def remove_old(store: Path) -> None:
    """Remove other stores that no run has added to for a month."""
    for other in store.parent.glob("features-*"):
        if other != store and time.time() - other.stat().st_mtime > MONTH:
            files.remove(other)


if __name__ == "__main__":
    run_stage("features", run)
