"""Links, copies and sizes."""

import errno
import os
from pathlib import Path

import pytest

from der.core.errors import UserError
from der.core.files import expand_home, link_or_copy, regular


def test_a_link_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").samefile(tmp_path / "source")


def test_a_copy_where_links_are_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "no link between file systems")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "source").write_bytes(b"bytes")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"bytes"
    assert not (tmp_path / "target").samefile(tmp_path / "source")


def test_only_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("file", "link"):
        assert regular(tmp_path / name) == tmp_path / name
    for name in ("pipe", "zeros", "missing", "."):
        with pytest.raises(OSError, match=r"no file|No such file"):
            regular(tmp_path / name)


def test_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home("~/images") == Path("/home/me/images")
    assert expand_home("images/~") == Path("images/~")
    with pytest.raises(UserError, match=r"^~nobody-of-this-name/a: there is no such home directory; write "):
        expand_home("~nobody-of-this-name/a")
