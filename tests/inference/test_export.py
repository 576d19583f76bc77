"""Exports, run by the programs they are for, against the network."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from der.core.errors import UserError
from der.inference import export
from der.inference.export import export_onnx, export_safetensors, export_torch
from der.model.checkpoint import Checkpoint, Metadata
from der.model.forward import run_network
from der.model.network import Network
from tests.builders import CPU, NORMALIZATION, random_checkpoint, random_images
from tests.model.tiny_timm import settings_for, teach, write_weights

pytestmark = pytest.mark.slow  # torch.export takes a second or more

Export = Callable[[Network, Metadata, Path], None]
CLASSES = [3, 2]
NAMES = [f"class {label}" for label in range(5)]


def export_with(export_to: Export, checkpoint: Checkpoint, path: Path) -> None:
    export_to(checkpoint.network, checkpoint.metadata, path)


def expected(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    logits = run_network(random_checkpoint(CLASSES).network, NORMALIZATION, images, CPU).logits
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def test_torch_in_batches_of_any_size_on_any_processor(tmp_path: Path) -> None:
    export_with(export_torch, random_checkpoint(CLASSES), tmp_path / "network.pt2")
    names = {"class_names": ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=names)
    assert json.loads(names["class_names"]) == NAMES
    module = program.module()
    for batch in (1, 3, 16):
        images = random_images(9, batch)
        np.testing.assert_allclose(module(torch.from_numpy(images)), expected(images), atol=1e-5)
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any(call.startswith("aten.") for call in calls)
    assert [call for call in calls if not call.startswith(("aten.", "<built-in"))] == []


def test_onnx_in_batches_of_any_size(tmp_path: Path) -> None:
    export_with(export_onnx, random_checkpoint(CLASSES), tmp_path / "network.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]  # the weights are inside
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 8, 8, 3])
    assert (made.name, made.type, made.shape) == ("probabilities", "tensor(float)", ["batch", 5])
    for batch in (1, 3, 16):
        images = random_images(9, batch)
        np.testing.assert_allclose(session.run(None, {"images": images})[0], expected(images), atol=1e-5)
    model = onnx.load(tmp_path / "network.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["class_names"]) == NAMES


def test_onnx_of_a_large_network_in_two_files_that_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 1000)
    export_with(export_onnx, random_checkpoint(CLASSES), tmp_path / "new" / "large.onnx")
    names = ["large.onnx", "large.onnx.data"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    (tmp_path / "new").rename(tmp_path / "moved")
    session = onnxruntime.InferenceSession(tmp_path / "moved" / "large.onnx")
    images = random_images(9, 3)
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected(images), atol=1e-5)


@pytest.mark.parametrize(
    ("export_to", "large"), [(export_torch, False), (export_onnx, True), (export_safetensors, False)]
)
def test_an_export_that_differs_is_removed(
    export_to: Export, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 1000)
    other = random_checkpoint(CLASSES, seed=1).network
    build = export.ExportableNetwork
    monkeypatch.setattr(export, "ExportableNetwork", lambda _, normalization: build(other, normalization))
    path = tmp_path / "network.out"
    with pytest.raises(UserError, match=f"{path}: not written, its probabilities differ from the network's"):
        export_with(export_to, random_checkpoint(CLASSES), path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_timm(tmp_path: Path) -> None:
    checkpoint = teach(settings_for(write_weights(tmp_path), tuned="last"))[1]
    for export_to in (export_onnx, export_safetensors):
        path = tmp_path / export_to.__name__
        export_with(export_to, checkpoint, path)  # read back, and compared
        assert path.exists()
