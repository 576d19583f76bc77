"""Reads DVC's dvc.lock, which records the last run, and checks and repairs the objects of its cache."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from der.core.errors import DamageError, UserError
from der.core.files import SealedDirectory, atomic_file, find_damage, from_here, read_sealed, remove
from der.pipeline import project, provenance
from der.settings.parsing import parse_yaml

LOCK = Path("dvc.lock")
RUNNING = Path(".dvc/tmp/rwlock")  # which files a running DVC reads and writes
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # MD5 of the object's bytes; .dir of a list of files
CACHE_MODE = 0o444  # DVC believes objects of this mode, without looking
NOT_SEALED = ("check", "summarize")  # stages with outputs that hold no digests of their own


def read_records() -> dict[str, Any]:
    """Read DVC's records of its runs, by stage; raises UserError if they are half-written."""
    with _whole(LOCK):
        text = LOCK.read_text(encoding="utf-8") if LOCK.exists() else "\n"
        stages = _parse(text)
        entries = [entry for name, stage in stages.items() if name != "report" for entry in stage["outs"]]
        entries += [entry for stage in stages.values() for entry in stage.get("deps", [])]
        if not text.endswith("\n") or not all("md5" in entry for entry in entries):
            raise ValueError
    return stages


def _parse(text: str) -> dict[str, Any]:
    stages: dict[str, Any] = parse_yaml(text, LOCK)["stages"] if text.strip() else {}
    return stages


def check_lock() -> None:
    """Raise UserError if a file that DVC writes in several parts is half-written."""
    read_records()
    with _whole(RUNNING):
        if RUNNING.exists() and not isinstance(json.loads(RUNNING.read_text(encoding="utf-8")), dict):
            raise ValueError


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, AttributeError, TypeError, KeyError):
        raise UserError(
            f"{path}: half-written, by a DVC that was killed; remove it and run `dvc repro`, which takes "
            "what is finished from its cache"
        ) from None


def read_hashes(stage: dict[str, Any], kind: str = "outs") -> dict[Path, str]:
    """Read DVC's hashes of a recorded stage's outputs, or of its "deps"; they end in .dir for directories."""
    return {Path(one["path"]): one["md5"] for one in stage.get(kind, [])}


def find_misrecorded() -> dict[str, str]:
    """The stages that dvc.lock says were made of something else than they were, each with a sentence.

    DVC records parameters and dependencies as they are when a stage has ended (its issue 11058): an edit
    between the stage's last look at them and that moment is recorded as if the results were made of it.
    """
    found = {stage: _misrecorded(stage, entry) for stage, entry in read_records().items()}
    said = f"{LOCK} says that it was made of"
    return {stage: f"{stage}: {said} {wrong}" for stage, wrong in found.items() if wrong}


def _misrecorded(stage: str, entry: dict[str, Any]) -> str | None:
    """What an entry of dvc.lock or of DVC's run cache has wrong; None if nothing, or if nothing tells."""
    path = project.made_of(stage)
    name = read_hashes(entry).get(path)
    if name is None:
        return None
    if not path.is_file() or md5_of(path) != name:
        try:
            path = find_object(find_cache(), name)
        except (ModuleNotFoundError, UserError):
            return None
    if not path.is_file():
        return None
    given = read_sealed(path)
    params, deps = entry.get("params", {}).get(str(project.PARAMS), {}), read_hashes(entry, "deps")
    for change in project.compare(given["params"], params):
        return f"{change.key} {project.shorten(change.new)}, but it was {project.shorten(change.old)}"
    for file, known in given["files"].items():
        if deps.get(Path(os.path.normpath(file))) != known:
            return f"{file} as it is now, but that was edited meanwhile"
    return None


def forget_misrecorded() -> list[str]:
    """Remove what ``find_misrecorded`` finds: entries of dvc.lock and of the run cache, and the outputs.

    So the stages run again, also by a `dvc repro` that is under way and has read dvc.lock: it would take what
    that says from its cache, but for the object of the stage's record, which goes too. Returns the sentences.
    """
    found, records = find_misrecorded(), read_records()
    if found:
        from dvc.utils.serialize import modify_yaml  # DVC costs a second

        for file in find_cache().parents[1].glob("runs/*/*/*"):
            entry = parse_yaml(file.read_text(encoding="utf-8"), file)
            if any(_misrecorded(stage, entry) for stage in found):
                file.unlink()
                if not any(file.parent.iterdir()):  # DVC cannot read an empty one
                    file.parent.rmdir()
        with modify_yaml(LOCK) as lock:
            for stage in found:
                del lock["stages"][stage]
                name = read_hashes(records[stage])[project.made_of(stage)]
                find_object(find_cache(), name).unlink(missing_ok=True)
        for output in (output for stage in found for output in project.list_outputs(stage)):
            remove(output)
    return list(found.values())


def count_same_steps(revision: str, most: int) -> int:
    """Count the first steps, ``most`` of them, whose images are by dvc.lock the same in a commit as now."""
    try:
        now, then = read_records(), _parse(provenance.read_committed(LOCK, revision).decode())
        steps = [(_find_images(now, step), _find_images(then, step)) for step in range(1, most + 1)]
    except (UserError, ValueError, KeyError, TypeError, AttributeError):  # no lock as DVC writes it
        return 0
    return sum(1 for _ in takewhile(lambda pair: None not in pair[0] and pair[0] == pair[1], steps))


def _find_images(records: dict[str, Any], step: int) -> list[str | None]:
    """Find DVC's hashes of a step's training and test images; None if DVC knows none."""
    read = {f"train_task@{step}": project.train_images(step), f"evaluate@{step}": project.test_images(step)}
    return [read_hashes(records.get(stage, {}), "deps").get(images) for stage, images in read.items()]


def is_recorded(parameters: Any) -> bool:
    """Tell whether the current commit has dvc.lock and summary of one run with ``parameters``.

    It checks stage report, the last one, which depends on all parameters and on the summary.
    """
    report = _parse(provenance.read_committed(LOCK).decode()).get("report", {})
    return report.get("params", {}).get(str(project.PARAMS)) == parameters and (
        read_hashes(report, "deps").get(project.SUMMARY) == md5_of(provenance.read_committed(project.SUMMARY))
    )


def find_cache() -> Path:
    """Find the directory of DVC's objects; raises UserError outside a repository."""
    return _find_cache(Path.cwd())


@cache  # DVC reads the whole graph for it, and it is asked for once per stage
def _find_cache(root: Path) -> Path:
    from dvc.exceptions import DvcException  # DVC costs a second
    from dvc.repo import Repo

    try:
        return Path(Repo(root).cache.local.path)
    except DvcException as error:
        raise UserError(f"dvc: {error}; run in a clone of the repository") from None


def find_object(cache: Path, name: str) -> Path:
    return cache / name[:2] / name[2:]


def holds(cache: Path, path: Path) -> bool:
    """Tell whether the cache has the bytes of a file, or of a directory's files with their listing."""
    return all(find_object(cache, name).exists() for name in _hash_objects(path))


def hash_output(path: Path) -> str:
    """Compute the name of DVC's object for a file, or for the listing of a directory."""
    return list(_hash_objects(path))[-1]


def _hash_objects(output: Path) -> dict[str, Path | bytes]:
    """Compute DVC's objects of an output by their names: the files, and last a directory's listing."""
    found = (one for one in (output, *output.rglob("*")) if not one.name.startswith("."))  # file managers'
    hashes = {file.relative_to(output).as_posix(): md5_of(file) for file in found if file.is_file()}
    listing = json.dumps([{"md5": hashes[one], "relpath": one} for one in sorted(hashes)]).encode()
    objects: dict[str, Path | bytes] = {name: output / one for one, name in hashes.items()}
    return objects | ({f"{md5_of(listing)}.dir": listing} if output.is_dir() else {})


def md5_of(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class Damage(NamedTuple):
    """A file that was changed after it was written."""

    sentence: str
    remove: Path  # that file, or the directory that its stage makes again


def find_all_damage() -> Iterator[Damage]:
    """Find corruption in the DVC cache, in intermediate outputs and in final outputs."""
    for path in sorted(find_cache().glob("??/*")):
        name = path.parent.name + path.name
        if OBJECT.fullmatch(name) and path.is_file() and md5_of(path) != name.removesuffix(".dir"):
            yield Damage(f"{from_here(path)}: damaged, an object of DVC's cache", path)
    for directory in filter(Path.exists, project.sealed(project.chain_length())):
        yield from (Damage(str(error), directory) for error in find_damage(directory))
    for step in range(1, project.chain_length() + 1):
        with suppress(DamageError, UserError):  # said above
            path = project.evaluation(step)
            if (found := SealedDirectory(path).read_json("metrics.json")["step"]) != step:
                yield Damage(f"{path}: the metrics of step {found}", path)
    for record in sorted(project.MADE_OF.glob("*.json")):
        try:
            read_sealed(record)
        except DamageError as error:
            yield Damage(str(error), record)
    for stage, sentence in find_misrecorded().items():
        yield Damage(sentence, project.made_of(stage))
    records = read_records()
    for stage in NOT_SEALED:
        for path, recorded in read_hashes(records.get(stage, {})).items():
            if path.exists() and hash_output(path) != recorded:
                yield Damage(f"{path}: other bytes than {LOCK} records of it", path)


def repair(damages: list[Damage]) -> Iterator[str]:
    """Remove damaged files, or restore an object whose bytes the results hold; return what was done."""
    stages = [stage for names in project.list_stages().values() for stage in names]
    outs = [out for stage in stages for out in project.list_outputs(stage)]
    copies = {name: one for out in outs for name, one in _hash_objects(out).items()}
    forgotten = forget_misrecorded()
    yield from (f"{sentence}; removed" for sentence in forgotten)
    for sentence, path in damages:  # objects first: their bytes may lie beside another file that is damaged
        if sentence in forgotten:
            continue
        if (intact := copies.get(path.parent.name + path.name)) is not None:
            with atomic_file(path) as partial:
                partial.write_bytes(intact if isinstance(intact, bytes) else intact.read_bytes())
                partial.chmod(CACHE_MODE)
            yield f"{sentence}; put back"
        else:
            gone = f" {path}" if path.is_dir() else ""
            remove(path)
            yield f"{sentence}; removed{gone}"
