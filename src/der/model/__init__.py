"""Networks: extractors by name, how a network grows, its kernels, and checkpoints on disk."""

# The files of a checkpoint directory.
METADATA = "network.json"
HEAD = "head.safetensors"
START = "start.safetensors"  # before step 1: what the first extractor starts from


def extractor_file(index: int) -> str:
    """File name of the extractor of ``index``, counted from 1."""
    return f"extractor_{index}.safetensors"
