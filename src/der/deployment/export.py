"""Checkpoints in the forms of other programs, each read back and compared before it is left behind.

Input "images" uint8 (batch, side, side, channels), output "probabilities" float32 (batch, classes), for any
batch.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from der.common.atomic import PARTIAL, atomic_file
from der.common.errors import UserError
from der.deployment.comparison import check_equal, sample_images
from der.deployment.exportable import ExportableNetwork
from der.model.metadata import Metadata
from der.model.network import Network

CLASS_NAMES = "class_names"  # of what travels with the graph: a JSON list in label order


def export_torch(network: Network, card: Metadata, path: Path) -> None:
    """Write torch.export's form, for ``torch.export.load``; class names are its extra file "class_names"."""
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(sample_images(card)[:2])
    usable = ExportableNetwork(network, card.normalization)
    program = torch.export.export(usable, (example,), dynamic_shapes={"images": {0: batch}})
    with atomic_file(path) as partial:
        with partial.open("wb") as stream:
            torch.export.save(program, stream, extra_files={CLASS_NAMES: json.dumps(card.class_names)})
        with partial.open("rb") as stream:
            module = torch.export.load(stream).module()
        check_equal(lambda images: module(torch.from_numpy(images)).numpy(), network, card, path)


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
        ExportableNetwork(network, card.normalization),
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
        check_equal(lambda images: session.run(None, {"images": images})[0], network, card, path)
        # The model last: it names the file of its weights.
        for file in (*model.parent.glob("*.data"), model):
            with atomic_file(path.with_name(file.name)) as partial:
                file.replace(partial)
