"""Whatever stands in params.yaml: settings, or one line of UserError, never another exception."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from der.core.errors import UserError
from der.pipeline.project import PARAMS, read_params
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.sections import to_values
from tests.examples_drawn import examples
from tests.locations import ROOT

CONTENT = read_params(ROOT / PARAMS)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63, 10**400])
    | st.floats()
    | st.text(max_size=80)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.sampled_from(["digits", "alphabetical", "herding", "float32", "cifar_resnet"])
)
KEYS = st.text(max_size=70) | st.sampled_from(["dataset", "train", "base", "seed"]) | SCALARS
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def outcome(content: Any) -> Settings | str:
    try:
        return parse(Settings, content)
    except UserError as error:
        sentence = str(error)
    assert sentence.isprintable() and len(sentence) < 500
    return sentence


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every holder and key of a tree."""
    if isinstance(content, list):
        pairs = list(enumerate(content))
    else:
        pairs = list(content.items()) if isinstance(content, dict) else []
    return [found for key, one in pairs for found in [(content, key), *places(one)]]


@st.composite
def edited(
    draw: st.DrawFn, content: Any, values: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]
) -> Any:
    """A copy of a tree after one to three edits."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(places(content)))
        match draw(st.sampled_from(["set", "copy", "remove", "add"])):
            case "set":
                holder[key] = draw(values)
            case "copy":  # what stands elsewhere
                other, place = draw(st.sampled_from(places(content)))
                holder[key] = copy.deepcopy(other[place])
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(keys)] = draw(values)
    return content


@given(edited(CONTENT, TREES, KEYS))
@settings(max_examples=examples(40))
def test_any_edit_of_the_committed_file(content: Any) -> None:
    found = outcome(content)
    if isinstance(found, Settings):
        assert outcome(to_values(found)) == found
