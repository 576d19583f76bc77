"""Checkpoints in the forms of other programs, each read back and compared before it is left behind.

Forms with a graph: input "images" uint8 (batch, side, side, channels), output "probabilities" float32
(batch, classes), for any batch. With each travels ``accompany``'s metadata.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from der.core.errors import UserError
from der.core.files import PARTIAL, atomic_file
from der.inference.export_check import check_equal, sample_images
from der.inference.exportable import ExportableNetwork
from der.inference.input_form import describe_input
from der.model.metadata import Metadata
from der.model.network import Network
from der.model.resnet import PadShortcut
from der.model.weights import tensors_of
from der.settings.sections import to_values


def accompany(metadata: Metadata) -> dict[str, str]:
    """What travels with a network, by name, as JSON: class names in label order, and ``describe_input``."""
    return {"class_names": json.dumps(metadata.class_names), "input": json.dumps(describe_input(metadata))}


def export_torch(network: Network, metadata: Metadata, path: Path) -> None:
    """Write torch.export's form, for ``torch.export.load``; its extra files are the metadata."""
    batch = torch.export.Dim("batch", min=1)
    example = torch.from_numpy(sample_images(metadata)[:2])
    usable = ExportableNetwork(network, metadata.normalization)
    program = torch.export.export(usable, (example,), dynamic_shapes={"images": {0: batch}})
    with atomic_file(path) as partial:
        with partial.open("wb") as stream:
            torch.export.save(program, stream, extra_files=accompany(metadata))
        with partial.open("rb") as stream:
            module = torch.export.load(stream).module()
        check_equal(lambda images: module(torch.from_numpy(images)).numpy(), network, metadata, path)


def export_onnx(network: Network, metadata: Metadata, path: Path) -> None:
    """Write ONNX with the metadata as its own.

    Weights of over 1.5 GB come to lie beside it, in ``path`` with ".data" added: ONNX holds 2 GB at most.
    Raises UserError if the packages that this needs are not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}; pip install onnx onnxruntime onnxscript") from None
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
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.", suffix=PARTIAL) as directory:
        model = Path(directory, path.name)
        program.save(model)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        check_equal(lambda images: session.run(None, {"images": images})[0], network, metadata, path)
        # The model last: it names the file of its weights.
        for file in (*model.parent.glob("*.data"), model):
            with atomic_file(path.with_name(file.name)) as partial:
                file.replace(partial)


def export_safetensors(network: Network, metadata: Metadata, path: Path) -> None:
    """Write the weights in one safetensors file, for programs with torch that build the network themselves.

    Batch normalisation is folded into the convolutions; to go on training, take the checkpoint. The metadata
    also have "network", the settings of the network.
    """
    usable = ExportableNetwork(network, metadata.normalization)
    texts = {**accompany(metadata), "network": json.dumps(to_values(metadata.network))}
    with atomic_file(path) as partial:
        save_file(name_weights(usable.network), partial, texts)
        found = load_file(partial)
        for name, value in usable.network.state_dict().items():
            value.copy_(found[name.removeprefix("_")])
        check_equal(lambda images: usable(torch.from_numpy(images)).numpy(), network, metadata, path)


def name_weights(folded: Network) -> dict[str, Tensor]:
    """Weights and biases by name, and of a shortcut without weights "places": which channel of its input each
    of its own is, the number of the input's channels standing for zeros.
    """
    named = tensors_of(folded)
    for name, layer in folded.named_modules():
        if isinstance(layer, PadShortcut):
            named[f"{name}.places"] = layer.places
    return {name.removeprefix("_"): value for name, value in named.items()}
