"""Whoever wrote params.yaml, and however: a preset leaves valid YAML, its own values and the old comments."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from der.pipeline.paths import PARAMS
from der.pipeline.presets import PLACES, load_preset, parse_settings
from der.settings.yaml import parse_yaml, put_values
from tests.examples_drawn import examples
from tests.locations import ROOT
from tests.pipeline.clones import COMMITTED, NAMES

VALUES = parse_yaml(COMMITTED, PARAMS)
MASKS = {
    "sparsity_weight": 1.5,
    "sharpness": 9.0,
    "rate_factor": 2.0,
    "start_mean": 1.0,
    "start_deviation": 0,
}
WORDS = st.text("abc #:'\"-[]{}&*!|>%@`,?é0", max_size=12).map(str.strip)
REMARKS = st.none() | WORDS.map(lambda text: f"# {text}".rstrip())
PICTURES = st.sampled_from(["data/images", "my pictures", "'#1'", '"a: b"', "'it''s'", "é.zip", "x" * 150])


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def comments(text: str) -> list[str]:
    """Every comment of a text, in order; none of the values that are written here begins with "#"."""
    return [found for line in text.split("\n") for found in re.findall(r"(?:^|\s)(#.*)", line)[:1]]


class Writer:
    """Writes params.yaml in every way that people and programs do, and remembers its comments."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.comments: list[str] = []

    def remark(self) -> str:
        text = self.draw(REMARKS)
        if text is None:
            return ""
        self.comments.append(text)
        return self.draw(st.sampled_from([" ", "   ", " " * 20])) + text

    def space(self, indent: str) -> Iterator[str]:
        for _ in range(self.draw(st.integers(0, 2))):
            text = self.draw(REMARKS)
            if text is not None:
                self.comments.append(text)
            yield "" if text is None else self.draw(st.sampled_from([indent, ""])) + text

    def mapping(self, values: dict[str, Any], indent: str) -> Iterator[str]:
        step = self.draw(st.sampled_from(["  ", "    "]))
        for key in self.draw(st.permutations(list(values))):
            yield from self.space(indent)
            value = values[key]
            if isinstance(value, dict) and not self.draw(st.booleans()):
                yield f"{indent}{key}: {self.flow(value)}{self.remark()}"
            elif isinstance(value, dict):
                yield f"{indent}{key}:{self.remark()}"
                yield from self.mapping(value, indent + step)
            elif isinstance(value, list) and value and self.draw(st.booleans()):
                yield f"{indent}{key}:{self.remark()}"
                yield from self.rows(value, indent + self.draw(st.sampled_from(["", step])))
            elif key == "path" and self.draw(st.booleans()):
                yield f"{indent}{key}: {self.draw(st.sampled_from(['|-', '>-', '|']))}{self.remark()}"
                yield f"{indent}{step}my pictures"
            elif key == "path":
                yield f"{indent}{key}: {self.draw(PICTURES)}{self.remark()}"
            else:
                yield f"{indent}{key}: {self.flow(value)}{self.remark()}"

    def rows(self, values: list[Any], indent: str) -> Iterator[str]:
        for value in values:
            yield from self.space(indent)
            yield f"{indent}- {self.flow(value)}{self.remark()}"

    def flow(self, value: Any) -> str:
        width = self.draw(st.sampled_from([20, 10**6]))  # programs break long lists
        text = yaml.safe_dump(value, default_flow_style=True, width=width)
        first, *others = text.removesuffix("\n").removesuffix("\n...").split("\n")
        return first + "".join(self.remark() + "\n" + " " * 20 + line for line in others)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A params.yaml of the committed values, some edited, and its comments from top to bottom."""
    values = parse_yaml(COMMITTED, PARAMS)
    values["train"]["base"]["milestones"] = draw(st.lists(st.integers(0, 99), unique=True).map(sorted))
    values["protocol"]["steps"] = draw(st.none() | st.just([["cat", "dog"], ["bird"]]))
    values["protocol"]["class_order"] = draw(st.sampled_from(["alphabetical", 1993, [1993, 2], ["a", "1"]]))
    if draw(st.booleans()):
        values["train"]["masks"] = dict(MASKS)
    writer = Writer(draw)
    lines = list(writer.space(""))
    if draw(st.booleans()):
        lines.append(f"---{writer.remark()}")
    lines += writer.mapping(values, "")
    if draw(st.booleans()):
        lines += [*writer.space(""), f"...{writer.remark()}"]
    lines += writer.space("")
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"])), writer.comments


def check_edit(text: str, name: str, expected: list[str]) -> str:
    preset = load_preset(name)
    edited = put_values(text, preset)
    content = parse_yaml(edited, PARAMS)
    parse_settings(edited)
    before = parse_yaml(text, PARAMS)
    for place in PLACES:
        section, _, key = place.partition(".")
        assert content[section].pop(key) == before[section][key]
    assert content == preset
    assert sorted(comments(edited)) == sorted(expected)
    assert not re.search(r" $", edited, re.MULTILINE)
    assert put_values(edited, preset) == edited
    return edited


@given(documents(), st.sampled_from(NAMES))
@settings(deadline=None, max_examples=examples(15), suppress_health_check=list(HealthCheck))
def test_any_document_any_preset(document: tuple[str, list[str]], name: str) -> None:
    text, expected = document
    check_edit(text, name, expected)


@pytest.mark.parametrize("sign", ["|", "|-", "|2-", ">", ">-"])
def test_a_remark_behind_the_sign_of_a_text(sign: str) -> None:
    text = re.sub(r"path: data/images  *(#.*)", rf"path: {sign}  \1\n    data/images\n  # above", COMMITTED)
    edited = check_edit(text, "digits_masks", comments(text))
    assert "  # above\n  downloads: " in edited
    assert comments(edited).index("# above") == comments(text).index("# above")


@pytest.mark.parametrize("end", ["a: |", "a: >-", "a: |  ", "a: | # c", "a: |\n  x", "a: # c", "a: 'x"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_the_first_and_the_last_character(start: str, end: str) -> None:
    text = f"{start}'b': 1 # x\n{end}{chr(39) * (end.count(chr(39)) % 2)}"
    edited = put_values(text, {})
    assert parse_yaml(edited, PARAMS) == parse_yaml(text, PARAMS)
    assert comments(edited) == comments(text.removeprefix("\ufeff"))


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
@settings(deadline=None, max_examples=examples(8))
@example(NAMES)
def test_the_way_to_a_preset_does_not_matter(names: list[str]) -> None:
    text = COMMITTED
    for name in names:
        text = check_edit(text, name, comments(COMMITTED))
        assert text == put_values(COMMITTED, load_preset(name))


OVERRIDES = st.sampled_from(
    [
        "train.base.milestones=[3,9]",
        "train.base.epochs=3",
        "memory.budget=40",
        "protocol.class_order=[1993]",
        "network.mean=[0.5]",
        "network.std=[0.5]",
        "dataset.path=elsewhere",
        "train.augmentation.resized_crop=[0.1,1.0]",
    ]
)


@given(st.lists(OVERRIDES, min_size=1, max_size=4), st.sampled_from(NAMES), st.sampled_from(NAMES))
@settings(deadline=None, max_examples=examples(15), suppress_health_check=list(HealthCheck))
def test_what_dvc_exp_run_has_written(
    tmp_path_factory: pytest.TempPathFactory, overrides: list[str], before: str, name: str
) -> None:
    path = tmp_path_factory.mktemp("run") / "params.yaml"
    path.write_text(put_values(COMMITTED, load_preset(before)), encoding="utf-8")
    for override in overrides:
        apply_overrides(str(path), [override])
    written = path.read_text(encoding="utf-8")
    assert "milestones:" in written and "milestones: [" not in written  # DVC writes lists with dashes
    check_edit(written, name, comments(COMMITTED)) if "mean" not in str(overrides) else put_values(
        written, load_preset(name)
    )


def test_comments_stay_where_they_were() -> None:
    text = """# about all

dataset:   # of images
  # above seed
  seed: 1     # beside seed
memory: {budget: 3}  # beside memory
train:
  base:
    milestones:  # beside milestones
      # in the list
    - 1  # beside an entry
    - 2
    # above epochs
    epochs: 5
# at the end
"""
    edited = put_values(text, load_preset("digits"))
    expected = [
        r"# about all\n\ndataset:  +# of images\n  # above seed\n  seed: 0  +# beside seed\n",
        r"\nmemory: +# beside memory\n  budget: 200\n",
        r"\n    milestones: \[20, 32\] +# beside milestones\n    # in the list\n    # beside an entry\n"
        r"    # above epochs\n    epochs: 40\n",
        r"\n# at the end\n$",
    ]
    for pattern in expected:
        assert re.search(pattern, edited), pattern


def test_no_other_text_is_touched(tmp_path: Path) -> None:
    assert put_values(COMMITTED, load_preset("digits")) == COMMITTED
