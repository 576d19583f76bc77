"""Checkpoints in the forms of other programs, each read back and compared before it is left behind.

Input "images" uint8 (batch, side, side, channels), output "probabilities" float32 (batch, classes), for any
batch.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from der.common.errors import UserError
from der.common.files import whole_file
from der.deployment.graph import UsableNetwork
from der.inference import run_network
from der.model.checkpoint import Card, Checkpoint

BATCHES = (1, 2, 5)  # of random images, that an export is compared on
LARGEST_DIFFERENCE = 1e-4  # of a probability, from that of the network itself
CLASS_NAMES = "class_names"  # of what travels with the graph: a JSON list in label order

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # an export that was read back


def export_torch(checkpoint: Checkpoint, path: Path) -> None:
    """Write torch.export's form, for ``torch.export.load``; class names are its extra file "class_names"."""
    card = checkpoint.card
    assert card is not None
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(_random_images(card, 2))
    program = torch.export.export(
        UsableNetwork(checkpoint), (example,), dynamic_shapes={"images": {0: batch}}
    )
    with whole_file(path) as partial:
        with partial.open("wb") as stream:
            torch.export.save(program, stream, extra_files={CLASS_NAMES: json.dumps(card.class_names)})
        with partial.open("rb") as stream:
            module = torch.export.load(stream).module()
        _compare(lambda images: module(torch.from_numpy(images)).numpy(), checkpoint, path)


def export_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Write ONNX; class names are in its metadata under "class_names".

    Raises UserError if the packages that this needs are not installed.
    """
    card = checkpoint.card
    assert card is not None
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}; pip install onnx onnxruntime onnxscript") from None
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(_random_images(card, 2))
    program: Any = torch.onnx.export(
        UsableNetwork(checkpoint),
        (example,),
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props[CLASS_NAMES] = json.dumps(card.class_names)
    with whole_file(path) as partial:
        program.save(partial)
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
        _compare(lambda images: session.run(None, {"images": images})[0], checkpoint, path)


def _compare(run: Run, checkpoint: Checkpoint, path: Path) -> None:
    """Raise UserError if an export differs from the network on random images."""
    card = checkpoint.card
    assert card is not None
    for batch in BATCHES:
        images = _random_images(card, batch)
        logits = run_network(checkpoint.network, card.normalization, images, torch.device("cpu")).logits
        expected = torch.from_numpy(logits).softmax(dim=1).numpy()
        difference = float(np.abs(run(images) - expected).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(
                f"{path}: not written, its probabilities differ from the network's by {difference:.1g}"
            )


def _random_images(card: Card, batch: int) -> NDArray[np.uint8]:
    shape = (batch, card.image_side, card.image_side, card.channels)
    return np.random.RandomState(batch).randint(0, 256, shape, dtype=np.uint8)
