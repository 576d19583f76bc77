"""params.schema.json: current, and of one mind with the settings."""

import re
from contextlib import nullcontext
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from der.core.errors import UserError
from der.core.serialization import read_json
from der.estimator.choices import CHOICES
from der.pipeline.checks import SCHEMA, make_schema
from der.pipeline.params import read_params
from der.pipeline.presets import load_preset
from der.settings.experiment import Settings, list_names
from der.settings.parsing import parse
from der.settings.yaml import parse_yaml, put_values
from tests.locations import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def faults(content: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(read_json(ROOT / SCHEMA)).iter_errors(content)]


def test_it_is_current() -> None:
    assert read_json(ROOT / SCHEMA) == make_schema(), "write it again with `der schema`"
    Draft202012Validator.check_schema(make_schema())


def test_editors_find_it() -> None:
    assert TEXT.startswith(f"# yaml-language-server: $schema={SCHEMA}\n")


@pytest.mark.parametrize("name", list_names())
def test_every_preset_is_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    applied = put_values(TEXT, load_preset(name))
    assert applied.startswith(TEXT.split("\n")[0])
    assert faults(parse_yaml(applied, SCHEMA)) == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("dataset", "image_side", 7),
        ("dataset", "seeds", 0),
        ("memory", "budget", "many"),
        ("memory", "selection", "greedy"),
        ("network", "backbone", "vit"),
        ("network", "tuned", "first"),
        ("train", "masks", {}),
    ],
)
def test_what_the_settings_refuse_is_invalid(section: str, key: str, value: Any) -> None:
    content = read_params(ROOT / "params.yaml")
    assert faults(content) == []
    content[section][key] = value
    assert len(faults(content)) == 1


def test_no_key_may_be_missing() -> None:
    for section, values in read_params(ROOT / "params.yaml").items():
        for key in values:
            content = read_params(ROOT / "params.yaml")
            del content[section][key]
            assert faults(content) == [f"'{key}' is a required property"]


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        (
            "protocol.class_order",
            [0, 2**32 - 1, "alphabetical", [0], [1993, 2], ["a", "b"]],
            [-1, 2**32, 1.5, True, None, "random", [], [-1], [2**32], [1, "a"], [True], [[1]], {}],
        ),
        (
            "train.augmentation.resized_crop",
            [None, [0.08, 1.0], [1, 1]],
            [0.5, True, "half", [], [0.5], [0, 1], [0.5, 1.1], [0.1, 0.5, 1.0], ["a", "b"], [None, 1], {}],
        ),
        ("train.base.milestones", [[], [0], [3, 5]], [None, 3, [-1], [3, 3], ["a"], [2**31]]),
    ],
)
def test_it_refuses_what_the_settings_refuse(key: str, good: list[Any], bad: list[Any]) -> None:
    for value, is_good in [*((one, True) for one in good), *((one, False) for one in bad)]:
        content = read_params(ROOT / "params.yaml")
        section: Any = content
        *above, last = key.split(".")
        for name in above:
            section = section[name]
        section[last] = value
        assert (faults(content) == []) == is_good, value
        with nullcontext() if is_good else pytest.raises(UserError, match=rf"^{re.escape(key)}"):
            parse(Settings, content)


def properties(schema: dict[str, Any], kind: str = "Settings", prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in schema["$defs"][kind]["properties"].items():
        inner = entry.get("$ref", "").rpartition("/")[2]
        found |= properties(schema, inner, f"{prefix}{name}.") if inner else {prefix + name: entry}
    return found


def test_every_key_is_described_and_every_choice_enumerated() -> None:
    found = properties(make_schema())
    assert len(found) > 40
    assert [key for key, entry in found.items() if not entry.get("description")] == []
    for key, choice in CHOICES.items():
        names, *families, own = found[key]["anyOf"]
        assert names == {"enum": [one for one in choice.registry if not one.endswith(":")]}
        assert families == [{"pattern": rf"^{one}[\w.-]+$"} for one in choice.registry if one.endswith(":")]
        assert re.match(own["pattern"], "package.module:function") and not re.match(own["pattern"], "digit")
