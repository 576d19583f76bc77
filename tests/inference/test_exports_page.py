"""The programs on docs/exports.md, run as they stand there, give what `der predict` gives."""

import ast
import csv
import io
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from msgspec.structs import replace
from PIL import Image
from safetensors import safe_open

from der.cli.main import main
from der.data.arrays import empty_memory
from der.inference.export import export_safetensors
from der.inference.predictor import Predictor
from der.model.checkpoint import Checkpoint
from der.settings.sections import MaskSettings, NetworkSettings
from der.train.batches import gather_step
from tests.builders import (
    CPU,
    NETWORK,
    NORMALIZATION,
    RESNET18,
    mask_settings,
    network_settings,
    phase_settings,
    random_checkpoint,
    random_images,
    save_steps,
    take_step,
    train_settings,
    training_images,
)
from tests.runs.pages import blocks, programs

SIDE = 8
(EXPORTS,) = blocks("docs/exports.md", "Exports")

pytestmark = pytest.mark.slow


def export(form: str, checkpoint: str) -> None:
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
    settings = replace(NETWORK, mean=[0.4], std=[0.3])
    images = training_images(0, [7, 7, 7])
    images = gather_step([array[..., :1] for array in images.pixels.arrays], empty_memory())
    return take_step(None, [["ä", "b", "c"]], images, train_settings(), network=settings)


@pytest.mark.parametrize("channels", [1, 3])
def test_onnx_with_pillow_and_numpy_and_the_same_metadata_in_every_form(
    channels: int, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = random_checkpoint([3]) if channels == 3 else grey_checkpoint()
    pictures = paint(place)
    save_steps(place, checkpoint)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    export("onnx", "1")
    capsys.readouterr()
    main(["predict", "1", *pictures, "--csv"])
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
        check_metadata(place)


def check_metadata(place: Path) -> None:
    """Every form carries the same."""
    for form in ("torch", "safetensors"):
        export(form, "1")
    extra = {"class_names": "", "input": ""}
    torch.export.load(place / "network.pt2", extra_files=extra)
    graph = {entry.key: entry.value for entry in onnx.load(place / "network.onnx").metadata_props}
    with safe_open(place / "network.safetensors", "pt") as file:
        weights = file.metadata()
    for key, text in extra.items():
        assert text == graph[key] == weights[key] != ""


def pruned_checkpoint(settings: NetworkSettings, masks: MaskSettings | None) -> Checkpoint:
    settings = replace(settings, mean=NORMALIZATION.mean, std=NORMALIZATION.std)
    train = train_settings(masks=masks, base=phase_settings(epochs=1, milestones=[]))
    first = take_step(None, [["a", "b"]], training_images(0, [9, 9]), train, network=settings)
    if settings.backbone == "resnet":  # a step of these takes a second
        return first
    images = training_images(1, [4, 5, 9])
    return take_step(first, [["a", "b"], ["c"]], images, train, network=settings)


LARGE = network_settings(backbone="resnet", depth=18, stem="large", head_bias=False)


@pytest.mark.parametrize(
    ("settings", "masks"),
    [(NETWORK, None), (NETWORK, mask_settings()), (RESNET18, mask_settings()), (LARGE, None)],
    ids=["cifar", "cifar pruned", "resnet pruned", "large"],
)
def test_safetensors_with_torch(settings: NetworkSettings, masks: MaskSettings | None, place: Path) -> None:
    checkpoint = pruned_checkpoint(settings, masks)
    export_safetensors(checkpoint.network, checkpoint.metadata, place / "network.safetensors")
    names: dict[str, object] = {}
    exec(programs("docs/exports.md", "safetensors, with torch")[0], names)
    images = random_images(5, 6)
    expected = Predictor(checkpoint, CPU)(images)
    found = names["classify"](torch.from_numpy(images))  # type: ignore[operator]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert names["names"] == checkpoint.metadata.class_names
