"""Archives whose members have any names: nothing leaves the scratch directory, and every name is kept."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import UserError
from der.data.sources.archives import unpack
from der.data.sources.pictures import is_ignored

Members = list[tuple[str, bytes]]

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\")
TEXTS = st.text(LETTERS, min_size=1, max_size=8)
ODD = ["..", ".", "", "a", "A", "é", "e\u0301", ".hidden", "Thumbs.db", "C:", "a b", "con", "~"]
PATHS = st.lists(st.sampled_from(ODD) | TEXTS, min_size=1, max_size=4).map("/".join)
NAMES = PATHS.map(lambda path: path.rstrip("/")).filter(lambda path: path.strip("/."))  # no folder's
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=8)), max_size=5, unique_by=lambda member: member[0])


def write_zip(path: Path, members: Members) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)


def write_tar(path: Path, members: Members) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def parts_of(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split("/") if part not in ("", "."))


def climbs(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def files_below(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("suffix", "write"), [(".zip", write_zip), (".tar", write_tar)])
@given(members=MEMBERS)
def test_names_stay_inside_and_apart(
    suffix: str, write: Callable[[Path, Members], None], members: Members
) -> None:
    with TemporaryDirectory() as directory:
        archive, scratch = Path(directory, f"archive{suffix}"), Path(directory, "inside", "scratch")
        scratch.mkdir(parents=True)
        write(archive, members)
        kept = [parts for name, _ in members if not any(map(is_ignored, (parts := parts_of(name))[:-1]))]
        if any(climbs(name) for name, _ in members) or len(set(kept)) < len(kept):  # "a" and "./a"
            with pytest.raises(UserError, match=r"( would leave the archive's folder| twice); remove .+$"):
                unpack(archive, scratch)
            assert files_below(scratch) == set()
        else:
            expected = {parts_of(name): content for name, content in members if parts_of(name) in kept}
            entries = {entry.parts: entry.file for entry in unpack(archive, scratch)}
            assert entries.keys() == expected.keys()
            for parts, file in entries.items():
                assert file is not None and file.parent == scratch
                assert file.read_bytes() == expected[parts]
        assert files_below(Path(directory)) - files_below(scratch) == {archive}
