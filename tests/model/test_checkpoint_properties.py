"""network.json with anything in it: it is refused in one sentence, or means the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import UserError
from der.core.files import SealedDirectory, seal
from der.model.checkpoint import Metadata, load_checkpoint
from der.settings.sections import to_values
from tests.builders import random_checkpoint, same_bits, save_steps, weights
from tests.settings.test_any_tree import edited

pytestmark = pytest.mark.slow

CLASSES = [2, 1]
WRITTEN = random_checkpoint(CLASSES)
CONTENT: dict[str, Any] = json.loads(json.dumps(to_values(WRITTEN.metadata)))

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 2, 3, 8, 14, 2**31, 2**63, 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(["resnet", "large"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def checkpoint() -> Iterator[Path]:
    """The checkpoint of two steps; every example writes its network.json anew."""
    with TemporaryDirectory() as directory:
        yield save_steps(Path(directory), random_checkpoint(CLASSES[:1]), WRITTEN)


def describe(checkpoint: Path, content: Any) -> None:
    """Write network.json and a manifest that says so, as a stranger does who wants it believed."""
    digests = SealedDirectory(checkpoint).digests
    (checkpoint / "network.json").write_text(json.dumps(content))
    seal(checkpoint, {name: digest for name, digest in digests.items() if name != "network.json"})


@given(content=edited(CONTENT, VALUES, st.text(max_size=8)))
def test_an_edited_description_means_what_it_says_or_is_refused(content: Any, checkpoint: Path) -> None:
    describe(checkpoint, content)
    loaded, sentence = None, ""
    try:
        loaded = load_checkpoint(checkpoint)
    except UserError as error:
        sentence = str(error)
    if loaded is None:
        assert re.fullmatch(r".*network\.json.*|.* it records|.*; take that of a step", sentence), sentence
        return
    assert to_values(loaded.metadata) == content  # 1.0 for 1 is the same
    assert same_bits(weights(loaded.network), weights(WRITTEN.network))
    assert architecture(loaded.metadata) == architecture(WRITTEN.metadata)


def architecture(metadata: Metadata) -> list[Any]:
    """What decides on the numbers that weights give, but the normalisation, which any may be."""
    network = metadata.network
    classes = len(metadata.class_names)
    return [classes, metadata.channels, network.backbone, network.depth, network.stem, metadata.parameters]
