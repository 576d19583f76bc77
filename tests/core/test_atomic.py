"""Files and directories that are whole or absent."""

from contextlib import suppress
from pathlib import Path

import pytest

from der.core.files import ASIDE, PARTIAL, atomic_directory, atomic_file, link_or_copy, read_json, write_json


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with atomic_file(path) as partial:
        partial.write_text("text")
        assert not path.exists()
        assert partial.name.endswith(PARTIAL)
        assert partial.parent == path.parent  # the same file system, so that renaming is atomic
    assert path.read_text() == "text"
    assert names(path.parent) == ["file.txt"]


def test_a_file_is_replaced_not_written_over(tmp_path: Path) -> None:
    # Checkpoints share files by hard links, so writing in place would change another one.
    (tmp_path / "file.json").write_text("old")
    link_or_copy(tmp_path / "file.json", tmp_path / "linked.json")
    write_json(tmp_path / "file.json", "new")
    assert (tmp_path / "linked.json").read_text() == "old"
    assert read_json(tmp_path / "file.json") == "new"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with suppress(KeyError), atomic_file(path) as partial:
        partial.write_text("half of the n")
        raise KeyError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_failure_leaves_no_new_file(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), atomic_file(tmp_path / "file.txt") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_the_partial_file_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / f"value.json{PARTIAL}").write_text("much longer than what will be written" * 9)
    write_json(tmp_path / "value.json", 1)
    assert (tmp_path / "value.json").read_text() == "1\n"
    assert names(tmp_path) == ["value.json"]


def test_a_directory_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with atomic_directory(path) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "a").write_text("a")
        assert not path.exists()
    assert (path / "inner" / "a").read_text() == "a"
    assert names(path.parent) == ["folder"]


def test_a_directory_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_directory(path) as partial:
            assert names(partial) == []
            (partial / name).write_text(name)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_a_failure_leaves_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_directory(path) as partial:
        (partial / "old").write_text("old")
    with suppress(KeyboardInterrupt), atomic_directory(path) as partial:
        (partial / "new").write_text("new")
        raise KeyboardInterrupt
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_the_partial_directory_of_a_killed_run_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / f"folder{PARTIAL}" / "deep"
    left.mkdir(parents=True)
    (left / "left").write_text("left")
    with atomic_directory(tmp_path / "folder") as partial:
        (partial / "new").write_text("new")
    assert names(tmp_path / "folder") == ["new"]
    assert names(tmp_path) == ["folder"]


def put(path: Path, name: str) -> None:
    with atomic_directory(path) as partial:
        (partial / name).touch()


def test_the_old_directory_is_there_until_the_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "folder", Path.replace
    put(path, "old")

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == f"folder{PARTIAL}":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(path, "new")
    assert names(path) == ["old"] and names(tmp_path) == ["folder"]


def test_what_a_kill_left_aside_comes_back(tmp_path: Path) -> None:
    path, aside = tmp_path / "folder", tmp_path / f"folder{ASIDE}"
    assert aside.suffix == PARTIAL  # ignored by git and DVC
    put(path, "old")
    path.replace(aside)  # killed between the two renamings
    with suppress(KeyError), atomic_directory(path):
        raise KeyError
    assert names(path) == ["old"] and names(tmp_path) == ["folder"]
    put(aside, "older")  # killed before it was removed
    put(path, "new")
    assert names(path) == ["new"] and names(tmp_path) == ["folder"]
