"""The file of weights that params.yaml names: there, and where DVC sees an edit of it."""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from der.core.errors import UserError
from der.model.start_files import read_tensors
from der.model.start_heads import check_head
from der.pipeline.start_weights import check_weights
from tests.builders import network_settings
from tests.examples_drawn import examples
from tests.pipeline.clones import make_clone


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "clone").mkdir()
    root = make_clone(tmp_path / "clone", monkeypatch)
    (root / "data/weights").mkdir()
    return root


def save(path: Path, *, archive: bool = True) -> Path:
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=archive)
    return path


def check(path: object) -> None:
    check_weights(network_settings(weights=None if path is None else str(path)))


def test_none_downloaded_ones_and_files_that_dvc_looks_at(clone: Path, tmp_path: Path) -> None:
    save(clone / "data/weights/a.pth")
    save(tmp_path / "elsewhere.pth")
    (clone / "data/weights/b.pth").symlink_to(tmp_path / "elsewhere.pth")
    for path in (
        None,
        "pretrained",
        "data/weights/a.pth",
        "data/weights/b.pth",
        clone / "data/weights/a.pth",
    ):
        check(path)


@pytest.mark.parametrize("name", ["data/weights/none.pth", "data/weights", "a\nb"])
def test_no_file(name: str, clone: Path) -> None:
    with pytest.raises(
        UserError, match=r"^params\.yaml: network\.weights: there is no file (.|\n)*, or null$"
    ):
        check(name)


def test_a_file_elsewhere_until_the_stage_depends_on_it(clone: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "elsewhere.pth")
    with pytest.raises(UserError) as caught:
        check(path)
    assert str(caught.value) == (
        f"params.yaml: network.weights: DVC would not see an edit of {path}; put it, or a link to it, into "
        f"data/weights, or add it to the deps of stage initialize in dvc.yaml: - {path}"
    )
    graph = clone / "dvc.yaml"
    text = graph.read_text(encoding="utf-8")
    graph.write_text(text.replace("      - data/weights\n", f"      - data/weights\n      - {path}\n"))
    check(path)


def test_every_form_of_weights_is_let_through(clone: Path) -> None:
    folder = clone / "data/weights"
    save_file({"a": torch.ones(2)}, folder / "a.safetensors")
    for path in (
        save(folder / "a.pth"),
        save(folder / "before 1.6.pth", archive=False),
        folder / "a.safetensors",
    ):
        check(path)


PAGE = b"<!DOCTYPE html><html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 46827520\n"


@pytest.mark.parametrize("name", ["a.pth", "a.SafeTensors"])
@pytest.mark.parametrize("content", [b"", PAGE, POINTER, b"\xff" * 64, b"PK\x03\x04", b"cut"], ids=ascii)
def test_what_is_no_weights_is_refused_by_its_head(name: str, content: bytes, clone: Path) -> None:
    path = clone / "data/weights" / name
    if content == b"cut":
        save_file({"a": torch.ones(200)}, path) if "Safe" in name else save(path)
        content = path.read_bytes()[:-30]
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"^params\.yaml: network\.weights: {path}: cannot be read as weights \(.+\); give"
    ) as caught:
        check(path)
    assert "\n" not in str(caught.value)


def test_an_archive_of_something_else_is_refused(clone: Path) -> None:
    path = clone / "data/weights/a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.pth", b"a")
    with pytest.raises(UserError, match=r"cannot be read as weights \(an archive, but not of torch\.save\)"):
        check(path)


@given(st.data())
@settings(deadline=None, max_examples=examples(60))
def test_a_head_is_refused_only_if_the_file_cannot_be_read(data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        path = save(Path(place, "a.pth"), archive=data.draw(st.booleans()))
        if data.draw(st.booleans()):
            path = Path(place, "a.safetensors")
            save_file({"a": torch.ones(2)}, path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content[: data.draw(st.integers(0, 4 * len(content)))])
        try:
            check_head(path, "here")
        except UserError:
            with pytest.raises(UserError):
                read_tensors(path, "here")
