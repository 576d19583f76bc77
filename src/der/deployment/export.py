"""Checkpoints in the forms of other programs, each read back and compared before it is left behind.

Input "images" uint8 (batch, side, side, channels), output "probabilities" float32 (batch, classes), for any
batch.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from der.common.atomic import PARTIAL, atomic_file
from der.common.errors import UserError
from der.data.sources.decoding import resize_all
from der.deployment.exportable import UsableNetwork
from der.model.forward import run_network
from der.model.metadata import Metadata
from der.model.network import Network

BATCH_ENDS = (1, 3, 8)  # of the images that an export is compared on
LARGEST_DIFFERENCE = 1e-4  # of a probability's logarithm, relative to that of the least probable class
SMALLEST = -80.0  # of a probability's logarithm, in float32 with all its digits
CLASS_NAMES = "class_names"  # of what travels with the graph: a JSON list in label order

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # an export that was read back


def export_torch(network: Network, card: Metadata, path: Path) -> None:
    """Write torch.export's form, for ``torch.export.load``; class names are its extra file "class_names"."""
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(sample_images(card)[:2])
    usable = UsableNetwork(network, card.normalization)
    program = torch.export.export(usable, (example,), dynamic_shapes={"images": {0: batch}})
    with atomic_file(path) as partial:
        with partial.open("wb") as stream:
            torch.export.save(program, stream, extra_files={CLASS_NAMES: json.dumps(card.class_names)})
        with partial.open("rb") as stream:
            module = torch.export.load(stream).module()
        _compare(lambda images: module(torch.from_numpy(images)).numpy(), network, card, path)


def export_onnx(network: Network, card: Metadata, path: Path) -> None:
    """Write ONNX; class names are in its metadata under "class_names".

    Weights of over 1.5 GB come to lie beside it, in ``path`` with ".data" added: ONNX holds 2 GB at most.
    Raises UserError if the packages that this needs are not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}; pip install onnx onnxruntime onnxscript") from None
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(sample_images(card)[:2])
    program: Any = torch.onnx.export(
        UsableNetwork(network, card.normalization),
        (example,),
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props[CLASS_NAMES] = json.dumps(card.class_names)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.", suffix=PARTIAL) as directory:
        model = Path(directory, path.name)
        program.save(model)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        _compare(lambda images: session.run(None, {"images": images})[0], network, card, path)
        # The model last: it names the file of its weights.
        for file in (*model.parent.glob("*.data"), model):
            with atomic_file(path.with_name(file.name)) as partial:
                file.replace(partial)


def _compare(run: Run, network: Network, card: Metadata, path: Path) -> None:
    """Raise UserError if an export differs from the network on ``sample_images``.

    By the logarithms of probabilities: of a trained network the largest ones are 1 whatever the image.
    """
    images = sample_images(card)
    logits = run_network(network, card.normalization, images, torch.device("cpu")).logits
    expected = torch.from_numpy(logits).log_softmax(dim=1).numpy()
    with np.errstate(divide="ignore"):
        found = np.concatenate([np.log(run(part)) for part in np.split(images, BATCH_ENDS[:-1])])
    differences = np.abs(np.maximum(found, SMALLEST) - np.maximum(expected, SMALLEST))
    difference = float((differences / (1 + np.abs(expected).max(axis=1, keepdims=True))).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"{path}: not written, its probabilities differ from the network's, their logarithms by "
            f"{difference:.1g} of the largest; take the other --format"
        )


def sample_images(card: Metadata) -> NDArray[np.uint8]:
    """Eight images (8, side, side, channels): noise, smooth ones, noise of black and white, black, white."""
    random = np.random.RandomState(0)
    side, channels = card.image_side, card.channels
    shape = (2, side, side, channels)
    noise = random.randint(0, 256, shape, dtype=np.uint8)
    coarse = random.randint(0, 256, (2, 3, 3, channels), dtype=np.uint8)
    smooth = resize_all(coarse[..., 0] if channels == 1 else coarse, side, channels)
    stark = random.randint(0, 2, shape, dtype=np.uint8) * np.uint8(255)
    flat = np.stack([np.full(shape[1:], value, np.uint8) for value in (0, 255)])
    return np.concatenate([noise, smooth, stark, flat])
