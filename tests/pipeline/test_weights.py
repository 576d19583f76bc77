"""The file of weights that params.yaml names: there, of the backbone, and where DVC sees an edit of it."""

from pathlib import Path

import pytest

from der.core.errors import UserError
from der.pipeline.edits import check_weights
from tests.builders import network_settings
from tests.model.tiny_timm import BACKBONE, NAME, write_weights
from tests.pipeline.clones import make_clone


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "clone").mkdir()
    root = make_clone(tmp_path / "clone", monkeypatch)
    (root / "data/weights").mkdir()
    return root


def check(path: object) -> None:
    check_weights(network_settings(backbone=BACKBONE, weights=None if path is None else str(path)))


def test_none_downloaded_ones_and_files_that_dvc_looks_at(clone: Path, tmp_path: Path) -> None:
    inside, elsewhere = write_weights(clone / "data/weights"), write_weights(tmp_path)
    link = clone / "data/weights/link.pth"
    link.symlink_to(elsewhere)
    for path in (None, "pretrained", f"data/weights/{NAME}.pth", "data/weights/link.pth", inside):
        check(path)


@pytest.mark.parametrize("name", ["data/weights/none.pth", "data/weights", "a\nb"])
def test_no_file(name: str, clone: Path) -> None:
    with pytest.raises(
        UserError, match=r"^params\.yaml: network\.weights: there is no file (.|\n)*, or null$"
    ):
        check(name)


def test_a_file_elsewhere_until_the_stage_depends_on_it(clone: Path, tmp_path: Path) -> None:
    path = write_weights(tmp_path)
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
