"""The frame of every stage: its code, its command line, its time, and errors in one line."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from der.core import files, registry
from der.core.errors import UserError, advising, ending_in_a_sentence
from der.pipeline import environment, fingerprint, project, timing
from der.settings.sections import Section

# Stages that several processes work on, and the input that says whether there is work at a step.
SHARED = dict.fromkeys(("train_task", "build_memory", "compress"), project.train_images)
SHARED["evaluate"] = project.test_images
CUDA_KERNELS = "der.model.kernels.triton"
MOST_NAMED = 3  # changes in a message
S = TypeVar("S", bound=Section)
INTERRUPTED = "interrupted; the next `dvc repro` goes on from here"


class Given:
    """What a stage was given when it began: its code, as stage check has read it, its parameters and files.

    Make it after the script's imports; raises UserError if the code on disk is different.
    """

    def __init__(self, name: str) -> None:
        self.name = name  # in DVC's graph, "train_task@2"
        self.stage = stage = name.partition("@")[0]
        self.parameters = project.read_params()
        self.keys, paths = project.list_inputs(name, self.parameters)
        self.files = {path: _look(path) for path in paths}
        self.hashes_of_dvc: dict[str, str] = {}  # of what users edit, by path
        path = project.fingerprint(stage)
        if not path.is_file():
            raise UserError(f"{path}: missing; run `dvc repro`, without --single-item")
        said = path.read_text(encoding="utf-8", errors="replace")
        self.named = fingerprint.named_modules(self.parameters)
        code = fingerprint.Code(self.named)
        self.hashes = code.hash_stage(stage)
        self.text = fingerprint.describe(self.hashes)
        self.confirmed = self._loaded()
        self.earlier = frozenset(registry.imported_own)
        if said != self.text:
            fingerprint.check_fingerprint(path)
            raise self._changed()

    def section(self, kind: type[S], key: str) -> S:
        return project.load_section(kind, key, self.parameters)

    def reads(self, path: Path) -> None:
        """Note the hash by which DVC knows the user's files at ``path``, one of the stage's dependencies."""
        if (found := _hash_as_dvc(self.stage, path)) is not None:
            self.hashes_of_dvc[path.as_posix()] = found

    def load(self, device: str) -> None:
        """Import all library modules of the stage's code, before an edit can change them, and ``confirm``.

        On other devices than "cuda" it leaves out CUDA's kernels, which may lack their packages.
        """
        for name in self.hashes:
            if not name.startswith("stages") and (name != CUDA_KERNELS or device == "cuda"):
                importlib.import_module(name)
        self.confirm()

    def confirm(self) -> None:
        """Raise UserError if parameters or files are not as they were given, or code was edited too early.

        A stage calls it after its imports, and before it writes results: DVC would record them as made of
        what there is now. Code that it has imported may be edited meanwhile.
        """
        now, at = project.read_params(), project.value_at
        changes = [
            f"{project.PARAMS}: {change}"
            for key in self.keys
            for change in project.compare(at(self.parameters, key), at(now, key), key)
        ]
        changes += [f"{path}: edited" for path, then in self.files.items() if _look(path) != then]
        if changes:
            raise UserError(
                f"{self.name}: edited while it ran: {'; '.join(changes[:MOST_NAMED])}. It left nothing; run "
                "`dvc repro` again, or take the edit back first to keep what it has trained"
            )
        own = registry.imported_own - self.earlier
        if not own <= self.hashes.keys():  # params.yaml names others than check read
            raise self._changed()
        loaded, code = self._loaded(), fingerprint.Code(self.named)
        for name in loaded - self.confirmed:
            if code.hash_module(name) != self.hashes[name]:
                raise self._changed()
        self.confirmed = loaded

    def keep(self) -> None:
        """Leave what the stage was given beside its outputs, for ``der.pipeline.dvc.find_misrecorded``."""
        path = project.made_of(self.name)
        if path in project.list_outputs(self.name):
            params = {key: project.value_at(self.parameters, key) for key in self.keys}
            files.write_sealed(path, {"params": params, "files": self.hashes_of_dvc})

    def _loaded(self) -> set[str]:
        return sys.modules.keys() & self.hashes.keys()

    def _changed(self) -> UserError:
        return UserError(
            f"{self.stage}: its code has been edited since stage check read it; run `dvc repro`, without "
            "--single-item"
        )


def _look(path: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files at ``path``: what tells, at little cost, that any was edited."""
    found = [path, *path.rglob("*")] if path.is_dir() else [path] if path.exists() else []
    states = [(file.as_posix(), file.lstat()) for file in found]
    return sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)


def _hash_as_dvc(stage: str, path: Path) -> str | None:
    """What dvc.lock would say of the files at ``path`` now; None where there is no DVC."""
    try:
        from dvc.exceptions import DvcException  # it costs a second
        from dvc.repo import Repo
    except ModuleNotFoundError:
        return None
    try:
        deps = Repo().stage.load_one(name=stage).deps
        found = next((dep for dep in deps if Path(dep.def_path) == Path(os.path.normpath(path))), None)
        return None if found is None else str(found.get_hash().value)
    except (DvcException, OSError):  # no repository of DVC's; files that the stage will miss
        return None


StageWork = Callable[[Given], str]  # a stage's work; returns a sentence for users


def run_check(run: Callable[[], str]) -> None:
    """Run stage check as the program; it writes the fingerprints for the other stages."""
    environment.end_with_parent()
    perform_check(run)


def run_stage(stage: str, run: StageWork) -> None:
    """Run another stage as the program, without arguments."""
    environment.end_with_parent()
    perform_stage(stage, run)


def run_step(stage: str, run: Callable[[int, Given], str]) -> None:
    """Like run_stage, with the step from the command line, and in several processes if requested."""
    environment.end_with_parent()
    step = int(sys.argv[1])
    name = f"{stage}@{step}"
    work = partial(perform_stage, name, partial(run, step))
    with ending():
        if is_shared(name):
            environment.run_together(work, f"stages.{stage}", str(step))
        else:
            work()


def perform_check(run: Callable[[], str]) -> None:
    """Run the work of stage check, and print its sentence."""
    with ending(), timing.timed("check"):
        print(run(), flush=True)


def perform_stage(name: str, run: StageWork) -> None:
    """Run a stage, `train_task@2` in DVC's graph, and print its sentence; a worker prints nothing."""
    if environment.is_worker():
        with ending():
            given = Given(name)
            run(given)
            given.confirm()
        return
    with ending(), timing.timed(name):
        given = Given(name)
        sentence = run(given)
        try:
            given.confirm()
        except UserError:
            for output in project.list_outputs(name):
                files.remove(output)
            raise
        given.keep()
        print(sentence, flush=True)


def is_shared(name: str) -> bool:
    """Tell whether several processes may work on a stage."""
    stage, _, step = name.partition("@")
    if stage == "compress" and project.read_compression(int(step)) is None:
        return False
    images = SHARED[stage](int(step)) if stage in SHARED else None
    if images is None or project.is_unused(images):
        return False
    # A frozen network takes seconds.
    return stage == "compress" or project.is_unused(project.features(images))


@contextmanager
def ending() -> Iterator[None]:
    """End the program with one line and exit status 1 after an error that users can fix."""
    with ending_in_a_sentence(INTERRUPTED), environment.telling_the_launcher(), advising(project.MEND):
        yield
