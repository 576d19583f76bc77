"""Pictures decoded by threads or processes: the same rows, the same faults."""

import errno
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from der.core.errors import UserError
from der.data.sources import Images, pictures
from der.data.sources.pictures import Job, Picture, decode, make_images, map_images, read_picture
from der.data.sources.registry import download
from der.data.sources.room import ROOM, Taken, taken_by_processes
from tests.data.sources.image_trees import expected, pixels_of, png, settings_for, tree_of, write_tree

COUNT = 40


def decode_all(directory: Path, total: int) -> tuple[bytes, list[str]]:
    """The bytes of a file of COUNT pictures, in reverse order, of which two are none; and what is wrong."""
    content = [Picture(str(index), png(str(index))) for index in range(COUNT)]
    content[3], content[30] = Picture("3", b"no picture"), Picture("30", b"")
    file = directory / "a.npy"
    make_images(file, COUNT, settings_for(""))
    jobs = [Job(file, range(COUNT)[::-1], content)]
    ((done, faults),) = decode(settings_for(""), total, jobs)
    assert done == file
    assert np.array_equal(map_images(file)[COUNT - 1], pixels_of("0"))
    assert not map_images(file)[COUNT - 1 - 3].any()
    return file.read_bytes(), [fault.place for fault in faults]


def test_processes_do_what_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    by_threads = decode_all(tmp_path, COUNT)
    by_processes = decode_all(tmp_path, pictures.WORTH_PROCESSES)
    assert by_threads == by_processes and by_threads[1] == ["3", "30"]


def test_no_two_threads_parse_headers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, inside, together = np.load, threading.Lock(), list[str]()

    def slow(*given: Any, **named: Any) -> Any:
        if not inside.acquire(blocking=False):
            together.append(str(given[0]))
            return load(*given, **named)
        try:
            time.sleep(0.01)  # for others to come in
            return load(*given, **named)
        finally:
            inside.release()

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(np, "load", slow)
    decode_all(tmp_path, COUNT)
    assert together == []


def test_files_are_moved_and_have_the_bytes_that_numpy_writes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 5, "dog": 4}))
    download(settings_for(root), tmp_path / "raw")
    for path in sorted((tmp_path / "raw").glob("*/*.npy")):
        np.save(tmp_path / "again.npy", np.load(path))
        assert (tmp_path / "again.npy").read_bytes() == path.read_bytes()
    assert not (tmp_path / "raw/unpacked").exists()


def test_a_full_disk_is_told_before_anything_is_written_through_a_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, offset: int, size: int) -> None:
        assert offset == 0 and size > COUNT * pixels_of("0").nbytes
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left") as caught:
        make_images(tmp_path / "a.npy", COUNT, settings_for(""))
    assert caught.value.filename == str(tmp_path / "a.npy")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no room is reserved")
def test_images_have_their_room_on_the_disk(tmp_path: Path) -> None:
    make_images(tmp_path / "a.npy", 5000, settings_for(""))
    status = (tmp_path / "a.npy").stat()
    assert status.st_blocks * 512 >= status.st_size


def test_pictures_of_several_classes_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 1, "dog": 1}, test={"cat": 1, "dog": 1}))
    barrier = threading.Barrier(4)

    def wait_for_all(*arguments: Any) -> Images:
        barrier.wait(timeout=30)
        return read_picture(*arguments)

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(pictures, "read_picture", wait_for_all)
    assert download(settings_for(root), tmp_path / "raw").classes == 2
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        assert np.array_equal(np.load(tmp_path / f"raw/{split}/{name}.npy"), expected(split, name, 1))


def test_jobs_are_taken_as_workers_get_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    make_images(tmp_path / "a.npy", COUNT, settings_for(""))
    taken = []

    def take() -> Iterator[Job]:
        for row in range(COUNT):
            taken.append(row)
            yield Job(tmp_path / "a.npy", [row], [Picture("", png("0"))])

    with closing(decode(settings_for(""), COUNT, take())) as decoded:
        for done, _ in enumerate(decoded):
            assert len(taken) <= done + 2 * pictures.AHEAD
    assert len(taken) == COUNT


class CountedThere:
    """A picture's place: in a worker, the number of pixels that are being decoded."""

    def __reduce__(self) -> Any:
        return pixels_taken, ()


def pixels_taken() -> str:
    return str(ROOM._taken.pixels.value)


def test_processes_share_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_already(context: Any) -> Taken:
        taken = taken_by_processes(context)
        taken.pixels.value = 7
        return taken

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(pictures, "taken_by_processes", taken_already)
    make_images(tmp_path / "a.npy", 1, settings_for(""))
    jobs = [Job(tmp_path / "a.npy", [0], [Picture(CountedThere(), b"")])]  # type: ignore[arg-type]
    ((_, (fault,)),) = decode(settings_for(""), pictures.WORTH_PROCESSES, jobs)
    assert fault.place == "7"


class Killed:
    """A picture's content with which a process ends, as where the system kills it."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_a_killed_process_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    jobs = [Job(tmp_path / "a.npy", [0], [Picture("0", Killed())])]  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^photos: a process that decoded its pictures was killed, as "):
        list(decode(settings_for("photos"), pictures.WORTH_PROCESSES, jobs))
