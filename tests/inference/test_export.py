"""Exports, run by the programs they are for and by those on docs/exports.md, against the network."""

import ast
import csv
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

from der.cli.main import main
from der.core.errors import UserError
from der.data.arrays import empty_memory
from der.inference import export
from der.inference.export import export_onnx, export_safetensors, export_torch
from der.inference.predictor import Predictor
from der.model.checkpoint import Checkpoint, Metadata
from der.model.network import Network, run_network
from der.settings.sections import MaskSettings, NetworkSettings
from der.train.batches import gather_step
from tests import builders
from tests.locations import ROOT
from tests.model.tiny_timm import settings_for, teach, write_weights
from tests.runs.pages import blocks, programs

pytestmark = pytest.mark.slow

Export = Callable[[Network, Metadata, Path], None]
CLASSES = [3, 2]
NAMES = [f"class {label}" for label in range(5)]


def export_with(export_to: Export, checkpoint: Checkpoint, path: Path) -> None:
    export_to(checkpoint.network, checkpoint.metadata, path)


def expected(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    logits = run_network(
        builders.random_checkpoint(CLASSES).network, builders.NORMALIZATION, images, builders.CPU
    ).logits
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def check_torch(place: Path) -> None:
    """It takes batches of any size, on any processor."""
    names = {"class_names": ""}
    program = torch.export.load(place / "network.pt2", extra_files=names)
    assert json.loads(names["class_names"]) == NAMES
    module = program.module()
    for batch in (1, 3, 16):
        images = builders.random_images(9, batch)
        np.testing.assert_allclose(module(torch.from_numpy(images)), expected(images), atol=1e-5)
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any(call.startswith("aten.") for call in calls)
    assert [call for call in calls if not call.startswith(("aten.", "<built-in"))] == []


def check_onnx(place: Path) -> None:
    """It takes batches of any size; its weights are inside."""
    assert [path.name for path in place.glob("*.onnx*")] == ["network.onnx"]
    session = onnxruntime.InferenceSession(place / "network.onnx")
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 8, 8, 3])
    assert (made.name, made.type, made.shape) == ("probabilities", "tensor(float)", ["batch", 5])
    for batch in (1, 3, 16):
        images = builders.random_images(9, batch)
        np.testing.assert_allclose(session.run(None, {"images": images})[0], expected(images), atol=1e-5)
    model = onnx.load(place / "network.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["class_names"]) == NAMES


def test_onnx_of_a_large_network_in_two_moved_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 1000)
    export_with(export_onnx, builders.random_checkpoint(CLASSES), tmp_path / "new" / "large.onnx")
    names = ["large.onnx", "large.onnx.data"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    (tmp_path / "new").rename(tmp_path / "moved")
    session = onnxruntime.InferenceSession(tmp_path / "moved" / "large.onnx")
    images = builders.random_images(9, 3)
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected(images), atol=1e-5)


@pytest.mark.parametrize(
    ("export_to", "large"), [(export_torch, False), (export_onnx, True), (export_safetensors, False)]
)
def test_an_export_that_differs_is_removed(
    export_to: Export, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 1000)
    other = builders.random_checkpoint(CLASSES, seed=1).network
    build = export.ExportableNetwork
    monkeypatch.setattr(export, "ExportableNetwork", lambda _, normalization: build(other, normalization))
    path = tmp_path / "network.out"
    with pytest.raises(UserError, match=f"{path}: not written, its probabilities differ from the network's"):
        export_with(export_to, builders.random_checkpoint(CLASSES), path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_timm(tmp_path: Path) -> None:
    checkpoint = teach(settings_for(write_weights(tmp_path), tuned="last"))[1]
    for export_to in (export_onnx, export_safetensors):
        path = tmp_path / export_to.__name__
        export_with(export_to, checkpoint, path)  # read back, and compared
        assert path.exists()


SIDE = 8
(EXPORTS,) = blocks("docs/exports.md", "Exports")


def export_as(form: str, checkpoint: str) -> None:
    """Run the page's line for a form, with another checkpoint."""
    (line,) = (line for line in EXPORTS.splitlines() if f"--format {form} " in line)
    words = shlex.split(line, comments=True)
    assert words[:3] == ["der", "export", "data/checkpoints/4"]
    main(["export", checkpoint, *words[3:]])


def paint(directory: Path) -> list[str]:
    """Pictures of all kinds that the page speaks of; their names."""
    stream = np.random.RandomState(0)
    colour = Image.fromarray(stream.randint(0, 256, (23, 37, 4)).astype(np.uint8), "RGBA")
    smooth = colour.convert("RGB").resize((320, 200), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    sixteen = Image.fromarray(stream.randint(0, 65536, (12, 9)).astype(np.uint16))
    palette = colour.convert("RGB").quantize(7)
    smooth.save(directory / "turned.jpg", exif=exif)
    smooth.save(directory / "large.jpg")
    colour.convert("RGB").resize((100, 60)).save(directory / "between.jpg")  # halved, not quartered
    smooth.convert("CMYK").save(directory / "print.jpg")
    colour.save(directory / "transparent.png")
    palette.save(directory / "palette.png", transparency=3)
    sixteen.save(directory / "sixteen.png")
    smooth.convert("L").save(directory / "grey.png")
    smooth.convert("1").save(directory / "bits.png")
    smooth.resize((SIDE, SIDE)).save(directory / "small.png")
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grey_checkpoint() -> Checkpoint:
    settings = replace(builders.NETWORK, mean=[0.4], std=[0.3])
    images = builders.training_images(0, [7, 7, 7])
    images = gather_step([array[..., :1] for array in images.pixels.arrays], empty_memory())
    return builders.take_step(None, [["ä", "b", "c"]], images, builders.train_settings(), network=settings)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_in_batches_and_onnx_with_pillow_and_numpy(
    channels: int, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = builders.random_checkpoint(CLASSES) if channels == 3 else grey_checkpoint()
    pictures = paint(place)
    steps = [checkpoint] if channels == 1 else [builders.random_checkpoint(CLASSES[:1]), checkpoint]
    number = builders.save_steps(place, *steps).name
    monkeypatch.setenv("DER_DEVICE", "cpu")
    export_as("onnx", number)
    capsys.readouterr()
    main(["predict", number, *pictures, "--csv", "--top", "9"])  # all
    table = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:]
    assert [row[0] for row in table] == pictures

    (program,) = programs("docs/exports.md", "ONNX, with Pillow and numpy")
    alone = "\nassert not {'torch', 'der', 'safetensors'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", program + alone, *pictures],
        cwd=place, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(pictures)
    for (name, *cells), line in zip(table, lines, strict=True):
        expected = dict(zip(cells[::2], map(float, cells[1::2]), strict=True))
        found = ast.literal_eval(line.removeprefix(f"{name} "))
        assert found == pytest.approx(expected, abs=1e-5), name
    if channels == 3:
        for form in ("torch", "safetensors"):
            export_as(form, number)
        check_onnx(place)
        check_torch(place)
        check_metadata(place)


def check_metadata(place: Path) -> None:
    """Every form carries the same."""
    extra = {"class_names": "", "input": ""}
    torch.export.load(place / "network.pt2", extra_files=extra)
    graph = {entry.key: entry.value for entry in onnx.load(place / "network.onnx").metadata_props}
    with safe_open(place / "network.safetensors", "pt") as file:
        weights = file.metadata()
    for key, text in extra.items():
        assert text == graph[key] == weights[key] != ""


def pruned_checkpoint(settings: NetworkSettings, masks: MaskSettings | None) -> Checkpoint:
    settings = replace(settings, mean=builders.NORMALIZATION.mean, std=builders.NORMALIZATION.std)
    train = builders.train_settings(masks=masks, base=builders.phase_settings(epochs=1, milestones=[]))
    first = builders.take_step(
        None, [["a", "b"]], builders.training_images(0, [9, 9]), train, network=settings
    )
    if settings.backbone == "resnet":  # a step of these takes a second
        return first
    images = builders.training_images(1, [4, 5, 9])
    return builders.take_step(first, [["a", "b"], ["c"]], images, train, network=settings)


LARGE = builders.network_settings(backbone="resnet", depth=18, stem="large", head_bias=False)


@pytest.mark.parametrize(
    ("settings", "masks"),
    [
        (builders.NETWORK, None),
        (builders.NETWORK, builders.mask_settings()),
        (builders.RESNET18, builders.mask_settings()),
        (LARGE, None),
    ],
    ids=["cifar", "cifar pruned", "resnet pruned", "large"],
)
def test_safetensors_with_torch(settings: NetworkSettings, masks: MaskSettings | None, place: Path) -> None:
    checkpoint = pruned_checkpoint(settings, masks)
    export_safetensors(checkpoint.network, checkpoint.metadata, place / "network.safetensors")
    names: dict[str, object] = {}
    exec((ROOT / "examples/safetensors_network.py").read_text(encoding="utf-8"), names)
    images = builders.random_images(5, 6)
    expected = Predictor(checkpoint, builders.CPU)(images)
    found = names["classify"](torch.from_numpy(images))  # type: ignore[operator]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert names["names"] == checkpoint.metadata.class_names
