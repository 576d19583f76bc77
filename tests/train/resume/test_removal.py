"""Removal of training state: by the checkpoint of a finished step, and by age."""

import os
import shutil
from pathlib import Path

import pytest

from der.core.sealed import seal
from der.train.resume import FINISHED, mark_of, remove_finished, remove_old
from tests.train.resume.sandbox import Sandbox, keep, make_old, make_state, states


def put_head(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "head.safetensors").write_bytes(content)
    seal(checkpoint, {})


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    """Two checkpoint directories, as far as they tell themselves apart."""
    paths = [tmp_path / "checkpoints" / name for name in ("1", "2")]
    for path in paths:
        path.mkdir(parents=True)
        put_head(path, path.name.encode())
    return paths


def test_state_of_a_finished_step_is_removed_by_its_checkpoint(
    checkpoints: list[Path], sandbox: Sandbox
) -> None:
    one, two = checkpoints
    for name, checkpoint in (("one", one), ("two", two), ("twin", two)):
        with sandbox.open(name) as scratch:
            keep(scratch, 1)
            scratch.finish(checkpoint)
    make_state(sandbox, "not finished")
    remove_finished(sandbox.root, two)
    assert sandbox.directories() == ["der-not finished", "der-one"]
    put_head(one, b"other")
    remove_finished(sandbox.root, one)
    assert (sandbox.root / "der-one").exists()


@pytest.mark.parametrize("spoil", [bytes([255]), None, "directory"], ids=str)
def test_a_mark_that_does_not_read_is_ignored_and_removed_when_old(
    spoil: bytes | str | None, checkpoints: list[Path], sandbox: Sandbox
) -> None:
    ruined = make_state(sandbox, "ruined") / FINISHED
    if isinstance(spoil, bytes):
        ruined.write_bytes(spoil)
    elif spoil:
        ruined.mkdir()
    else:
        os.mkfifo(ruined)
    finished = make_state(sandbox, "finished")
    (finished / FINISHED).write_text(mark_of(checkpoints[0]))
    remove_finished(sandbox.root, checkpoints[0])
    assert sandbox.directories() == ["der-ruined"]
    make_old(ruined.parent)
    remove_old(sandbox.root)
    assert sandbox.directories() == []


def test_a_directory_that_cannot_be_looked_into_stops_nobody(
    checkpoints: list[Path], sandbox: Sandbox
) -> None:
    finished, closed = make_state(sandbox, "finished"), sandbox.root / "der-closed"
    (finished / FINISHED).write_text(mark_of(checkpoints[0]))
    closed.symlink_to("a" * 300)  # a name that no file system takes: an OSError for root, too
    with pytest.raises(OSError, match="File name too long"):
        (closed / "lock").stat()
    remove_old(sandbox.root)
    remove_finished(sandbox.root, checkpoints[0])
    assert not finished.exists()


def test_only_old_scratch_directories_are_removed_by_age(sandbox: Sandbox) -> None:
    old, fresh = make_state(sandbox, "old"), make_state(sandbox, "fresh")
    # The root may be one that the user shares with other things.
    kept = [sandbox.root / name for name in ("photos", "der-photos", "derived", "xder-photos")]
    for directory in kept:
        directory.mkdir()
        (directory / "image.png").touch()
    (sandbox.root / "photos" / "lock").touch()
    (sandbox.root / "der-notes.txt").touch()
    for path in sandbox.root.iterdir():
        if path != fresh:
            make_old(path)
    with sandbox.open("new"):
        pass
    assert not old.exists()
    assert (fresh / "phase-000001.state").exists()
    assert all((directory / "image.png").exists() for directory in kept)
    assert (sandbox.root / "der-notes.txt").exists()


def test_what_is_in_use_is_never_too_old(sandbox: Sandbox) -> None:
    with sandbox.open() as scratch:
        keep(scratch, 1)
        make_old(scratch.directory)
        with sandbox.open("another key"):
            pass
        assert states(scratch) == ["phase-000001.state"]


def test_age_is_that_of_the_last_write(sandbox: Sandbox) -> None:
    directory = make_state(sandbox, "key")
    make_old(directory)
    with sandbox.open() as scratch:  # which also means: a run's own state is never too old for it
        assert scratch.load("phase") is not None
        keep(scratch, 2)
        remove_old(sandbox.root)
    assert sandbox.loaded() == 2


def test_a_directory_that_another_process_removes_meanwhile(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = [make_state(sandbox, name) for name in ("one", "two")]
    for directory in directories:
        make_old(directory)
    exists = Path.exists

    def exists_no_more(path: Path) -> bool:
        found = exists(path)
        shutil.rmtree(path.parent, ignore_errors=True)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", exists_no_more)
        remove_old(sandbox.root)
    assert not any(directory.exists() for directory in directories)
