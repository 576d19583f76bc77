"""Classifiers on Hugging Face's hub: the card that says what one is, and their way there and back."""

from pathlib import Path
from typing import Any

from der.core.errors import printable
from der.evaluation.results import StepMetrics
from der.model.checkpoint import Metadata

PREFIX = "hf:"  # of a repository of the hub, where ``load`` takes a directory
FILES = ["*.json", "*.safetensors", "*.npy"]  # all of a saved classifier; nothing in them runs
CARD = "README.md"
TEXT = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")  # of the card


def write_card(name: str, metadata: Metadata, exemplars: int, metrics: StepMetrics | None) -> str:
    """Write the card of a classifier; ``metrics`` are None where it was not evaluated after its last step."""
    named = [", ".join(map(printable, names)) for names in metadata.steps]
    steps = [f"- Step {step}: {names}" for step, names in enumerate(named, start=1)]
    accuracy = "not evaluated."
    if metrics is not None:
        accuracy = f"top-1 {metrics['top1']:.2f} % of {metrics['test_images']:,} test images."
    return TEXT.format(
        name=name,
        classes=len(metadata.class_names),
        count="1 step" if len(steps) == 1 else f"{len(steps)} steps",
        steps="\n".join(steps),
        side=metadata.image_side,
        channels="grey" if metadata.channels == 1 else "in colour",
        accuracy=accuracy,
        parameters=metadata.parameters,
        exemplars=exemplars,
    )


def push(folder: Path, name: str, private: bool | None, token: str | None, options: dict[str, Any]) -> str:
    """Send the files in ``folder`` to the repository ``name``, which is made if there is none."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    url = api.create_repo(name, private=private, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=folder, **options)
    return str(url)


def fetch(path: str) -> Path:
    """Return the directory of the classifier that ``path``, hf: and a repository's name, names."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(path.removeprefix(PREFIX), allow_patterns=FILES))
