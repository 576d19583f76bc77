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
from der.model.checkpoint import Metadata, load_checkpoint, save_checkpoint, save_empty_checkpoint
from der.settings.sections import to_values
from tests.builders import random_checkpoint, same_bits, weights

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
DROPPED = object()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in nested ones."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a path, or none there."""
    if not path:
        return new
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if not rest and new is DROPPED:
        del copy[key]
    else:
        copy[key] = put(copy[key], tuple(rest), new)
    return copy


def value_at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


PLACES = [path for path in places(CONTENT) if path]
WHERE = st.sampled_from(PLACES)
OTHERS = VALUES | st.just(DROPPED) | WHERE.map(lambda path: value_at(CONTENT, path))
EDITS = st.lists(st.tuples(WHERE, OTHERS), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def checkpoint() -> Iterator[Path]:
    """The checkpoint of two steps; every example writes its network.json anew."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        save_empty_checkpoint(root / "0")
        save_checkpoint(root / "1", random_checkpoint(CLASSES[:1]), root / "0")
        save_checkpoint(root / "2", WRITTEN, root / "1")
        yield root / "2"


def describe(checkpoint: Path, content: Any) -> None:
    """Write network.json and a manifest that says so, as a stranger does who wants it believed."""
    digests = SealedDirectory(checkpoint).digests
    (checkpoint / "network.json").write_text(json.dumps(content))
    seal(checkpoint, {name: digest for name, digest in digests.items() if name != "network.json"})


def edited(edits: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """CONTENT after the edits that still find their place."""
    content = CONTENT
    for path, new in edits:
        try:
            content = put(content, path, new)
        except (LookupError, TypeError):  # an earlier edit took it away
            continue
    return content


@given(edits=EDITS)
def test_an_edited_description_means_what_it_says_or_is_refused(
    edits: list[tuple[tuple[Any, ...], Any]], checkpoint: Path
) -> None:
    content = edited(edits)
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


@given(content=VALUES)
def test_any_other_json_is_refused(content: Any, checkpoint: Path) -> None:
    describe(checkpoint, content)
    with pytest.raises(UserError, match=r"not a DER checkpoint of format \d+; train it again$|NaN|Infinity"):
        load_checkpoint(checkpoint)
