"""Links, copies and sizes."""

import errno
import os
from pathlib import Path

import pytest

from der.common.filesystem import link_or_copy


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
