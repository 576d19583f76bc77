"""Exports checkpoints to formats of other programs; reads each file back and compares it.

Formats with a graph have the input "images" uint8 (batch, side, side, channels) and the output
"probabilities" float32 (batch, classes), for any batch. Every file has the metadata of ``accompany``.

# B batch, H and W pixels, C channels, K classes seen
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor, nn

from der.core import errors, files
from der.data.sources.pictures import BACKGROUND, DRAFT, resize_all
from der.model import architecture, resnet, weights
from der.model.checkpoint import Metadata
from der.model.network import Network, Normalize, fold_network, run_network
from der.settings.sections import to_values

BATCH_ENDS = (1, 3, 8)  # of the images that an export is compared on
LARGEST_DIFFERENCE = 1e-4  # of a probability's logarithm, relative to that of the least probable class
SMALLEST = -80.0  # of a probability's logarithm, in float32 with all its digits

ExportedNetwork = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # an export that was read back


def export_torch(network: Network, metadata: Metadata, path: Path) -> None:
    """Write torch.export's format, for ``torch.export.load``; its extra files are the metadata."""
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(sample_images(metadata)[:2])
    usable = ExportableNetwork(network, metadata.normalization)
    program = torch.export.export(usable, (example,), dynamic_shapes={"images": {0: batch}})
    with files.atomic_file(path) as partial:
        with partial.open("wb") as stream:
            torch.export.save(program, stream, extra_files=accompany(metadata))
        with partial.open("rb") as stream:
            module = torch.export.load(stream).module()
        check_equal(lambda images: module(torch.from_numpy(images)).numpy(), network, metadata, path)


def export_onnx(network: Network, metadata: Metadata, path: Path) -> None:
    """Write ONNX with the metadata; weights of over 1.5 GB go into a second file, ``path`` with ".data"."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise errors.UserError(f"ONNX needs {error.name}; pip install onnx onnxruntime onnxscript") from None
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(sample_images(metadata)[:2])
    program: Any = torch.onnx.export(
        ExportableNetwork(network, metadata.normalization),
        (example,),
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(accompany(metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.", suffix=files.PARTIAL) as directory:
        model = Path(directory, path.name)
        program.save(model)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        check_equal(lambda images: session.run(None, {"images": images})[0], network, metadata, path)
        # The model last: it names the file of its weights.
        for file in (*model.parent.glob("*.data"), model):
            with files.atomic_file(path.with_name(file.name)) as partial:
                file.replace(partial)


def export_safetensors(network: Network, metadata: Metadata, path: Path) -> None:
    """Write the weights in one safetensors file, for programs with torch that build the network themselves.

    Batch normalisation is folded into the convolutions; use the checkpoint for further training. A shortcut
    without weights has "places": the input channel of each of its own channels, or the number of input
    channels for zeros. The metadata also have "network", the settings of the network.
    """
    usable = ExportableNetwork(network, metadata.normalization)
    named = weights.tensors_of(usable.network)
    for name, layer in usable.network.named_modules():
        if isinstance(layer, resnet.PadShortcut):
            named[f"{name}.places"] = layer.places
    texts = {**accompany(metadata), "network": json.dumps(to_values(metadata.network))}
    with files.atomic_file(path) as partial:
        partial.write_bytes(save({name.removeprefix("_"): value for name, value in named.items()}, texts))
        found = load_file(partial)
        values = {name: found[name.removeprefix("_")] for name in usable.network.state_dict()}
        weights.fill(usable.network, values)
        check_equal(lambda images: usable(torch.from_numpy(images)).numpy(), network, metadata, path)


def accompany(metadata: Metadata) -> dict[str, str]:
    """Return a network's metadata as JSON by name: class names in label order, and ``describe_input``."""
    return {"class_names": json.dumps(metadata.class_names), "input": json.dumps(describe_input(metadata))}


def describe_input(metadata: Metadata) -> dict[str, Any]:
    """Describe how a picture becomes a network's input, step by step; docs/exports.md explains each entry."""
    scaling, crop, kernel = metadata.resize.split(", ")
    return {
        "jpeg_draft": DRAFT,
        "exif_orientation": True,
        "background": BACKGROUND,
        "mode": "L" if metadata.channels == 1 else "RGB",
        "channels": metadata.channels,
        "side": metadata.image_side,
        "resize": scaling,
        "crop": crop.removesuffix("-crop"),
        "filter": kernel.upper(),
        "mean": metadata.normalization.mean,
        "std": metadata.normalization.std,
    }


class ExportableNetwork(nn.Module):
    """Normalisation, all extractors with folded batch normalisation, classifier and softmax."""

    def __init__(self, network: Network, normalization: architecture.Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.network = fold_network(network, torch.device("cpu"))
        self.requires_grad_(False).eval()
        # As loaded from disk, not as training leaves it; torch.export warns of other formats.
        self.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities (B, K) float32 of images (B, H, W, C) uint8."""
        logits_BK: Tensor = self.network(self.normalize(images.permute(0, 3, 1, 2)))
        return logits_BK.softmax(dim=1)


def check_equal(exported: ExportedNetwork, network: Network, metadata: Metadata, path: Path) -> None:
    """Raise UserError if an export differs from the network on ``sample_images``.

    It compares logarithms of probabilities, because a trained network's largest ones are 1 for any image.
    """
    images = sample_images(metadata)
    logits = run_network(network, metadata.normalization, images, torch.device("cpu")).logits
    expected = torch.from_numpy(logits).log_softmax(dim=1).numpy()
    with np.errstate(divide="ignore"):
        found = np.concatenate([np.log(exported(part)) for part in np.split(images, BATCH_ENDS[:-1])])
    differences = np.abs(np.maximum(found, SMALLEST) - np.maximum(expected, SMALLEST))
    difference = float((differences / (1 + np.abs(expected).max(axis=1, keepdims=True))).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise errors.UserError(
            f"{path}: not written, its probabilities differ from the network's, their logarithms by "
            f"{difference:.1g} of the largest; take the other --format"
        )


def sample_images(metadata: Metadata) -> NDArray[np.uint8]:
    """Make eight images (8, side, side, channels): noise, smooth, black-and-white noise, black, white."""
    random = np.random.RandomState(0)
    side, channels = metadata.image_side, metadata.channels
    shape = (2, side, side, channels)
    noise = random.randint(0, 256, shape, dtype=np.uint8)
    coarse = random.randint(0, 256, (2, 3, 3, channels), dtype=np.uint8)
    smooth = resize_all(coarse[..., 0] if channels == 1 else coarse, side, channels)
    stark = random.randint(0, 2, shape, dtype=np.uint8) * np.uint8(255)
    flat = np.stack([np.full(shape[1:], value, np.uint8) for value in (0, 255)])
    return np.concatenate([noise, smooth, stark, flat])
