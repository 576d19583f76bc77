"""`der add`: one more step on top of what is finished, and the warning where that would be trained anew."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from der.core.errors import UserError
from der.pipeline import adding
from der.pipeline.edits import add_classes, describe_move, finished_steps, put_steps
from der.pipeline.params import compare, read_text
from der.pipeline.paths import PARAMS
from der.pipeline.planning import planned_steps
from der.pipeline.presets import load_settings, parse_settings
from der.pipeline.steps import chain_length
from der.settings.yaml import parse_written, parse_yaml
from tests.examples_drawn import examples
from tests.pipeline.clones import COMMITTED, make_clone
from tests.runs.lab import set_parameters

FINISHED = [["bee", "cat"], ["dog"]]
FOLDER = {"dataset.source": "folder", "protocol.first_classes": 2, "protocol.later_classes": 1}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with two finished steps of its own images, the checkpoint of a third a marker."""
    make_clone(tmp_path, monkeypatch)
    set_parameters(PARAMS, FOLDER)
    for name in ("bee", "cat", "dog"):
        bring(name)
        write(Path("data/raw/train", f"{name}.npy"))
    for step in (0, 1, 2):
        write(Path("data/checkpoints", str(step), "network.json"), json.dumps({"steps": FINISHED[:step]}))
    write(Path("data/checkpoints/3/unused.json"))
    return tmp_path


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def bring(name: str) -> None:
    Path("data/images/train", name).mkdir(parents=True)


def moved() -> str | None:
    found = load_settings()
    return describe_move(found, planned_steps(found) or [])


def steps() -> Any:
    return load_settings().protocol.steps


def test_all_new_classes_make_a_step_on_top_of_the_finished_ones() -> None:
    bring("ant")
    bring("emu")
    assert add_classes([]).splitlines() == [
        "params.yaml: step 3 is ant, emu; steps 1 to 2 stay as they were",
        "chain.yaml: 4 -> 3 steps",
        "`dvc repro` trains train_task@1 to @3, for dvc.lock does not record all finished steps, as after "
        "`python -m stages`; to keep them, take the edit back and run `dvc commit -f` before `der add`",
    ]
    assert steps() == [*FINISHED, ["ant", "emu"]]
    assert chain_length() == 3
    assert moved() is None


def test_named_classes_come_in_the_order_of_the_names() -> None:
    for name in ("ant", "emu", "fox"):
        bring(name)
    add_classes(["fox", "ant", "fox"])
    assert steps() == [*FINISHED, ["fox", "ant"]]


def test_steps_that_were_added_and_not_trained_yet_stay() -> None:
    bring("ant")
    bring("emu")
    add_classes(["emu"])
    assert add_classes([]).startswith("params.yaml: step 4 is ant; steps 1 to 2 stay as they were\n")
    assert steps() == [*FINISHED, ["emu"], ["ant"]]
    with pytest.raises(UserError, match=r"^emu: in step 3 already; name classes that are new$"):
        add_classes(["emu"])


def test_steps_that_do_not_go_on_from_the_finished_ones_are_replaced() -> None:
    bring("emu")
    set_parameters(PARAMS, {"protocol.steps": [["bee"], ["cat"], ["dog"]]})
    add_classes(["emu"])
    assert steps() == [*FINISHED, ["emu"]]


def test_what_trains_is_said_of_all_new_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, stage, new in (
        ("ant", "train_task@3", "step 3"),
        ("emu", "train_task@3 to @4", "steps 3 to 4"),
    ):
        bring(name)
        monkeypatch.setattr(adding, "stages_to_run", lambda _, stage=stage: ["split", stage])
        said = add_classes([name]).splitlines()[-1]
        assert said == f"`dvc repro` trains {new}, and no other while the images of the others are the same"


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [((1, 2), "other parameters have changed, too"), ((1,), "dvc.lock does not record all finished steps, ")],
)
def test_why_others_train_is_said(
    recorded: tuple[int, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring("ant")
    monkeypatch.setattr(adding, "stages_to_run", lambda _: ["split", "train_task@1 to @3"])
    monkeypatch.setattr(adding, "read_lock", lambda: {f"train_task@{step}": {} for step in recorded})
    said = add_classes([]).splitlines()[-1]
    assert said.startswith(f"`dvc repro` trains train_task@1 to @3, for {reason}")


@pytest.mark.parametrize("name", ["3.partial", "4_old", "exports", "3\u00b2"])
def test_only_whole_numbers_are_steps(name: str) -> None:
    write(Path("data/checkpoints", name, "network.json"), json.dumps({"steps": [["x"]]}))
    assert finished_steps() == FINISHED


def test_nothing_else_in_the_parameters_changes() -> None:
    bring("ant")
    before = parse_yaml(read_text(), PARAMS)
    add_classes([])
    assert [change.key for change in compare(before, parse_yaml(read_text(), PARAMS))] == ["protocol.steps"]


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=9)  # as of folders
ODD = st.sampled_from(["9", "null", "yes", "1e3", "=1", "#1", "a: b", "- a", "it's", '"', "*a", "<<", "~"])


@pytest.mark.parametrize("name", ["a:b", "1:30", ":a", "x?", "?x", "a, b", "[a]", "-", "null", "a #b", "{a}"])
def test_names_that_readers_of_yaml_take_for_something_else(name: str) -> None:
    edited = put_steps(COMMITTED, [["ant", name]])
    for parse in (parse_yaml, parse_written):  # ours, and that of DVC
        assert parse(edited, PARAMS)["protocol"]["steps"] == [["ant", name]]


@given(st.lists(NAMES | ODD, min_size=1, max_size=5, unique=True))
@settings(deadline=None, max_examples=examples(20))
def test_any_names_come_back_and_comments_stay(names: list[str]) -> None:
    edited = put_steps(COMMITTED, [names])
    expected = parse_yaml(COMMITTED, PARAMS)
    expected["protocol"]["steps"] = [names]
    assert parse_yaml(edited, PARAMS) == expected
    assert put_steps(edited, None) == COMMITTED  # type: ignore[arg-type]
    assert parse_settings(edited).protocol.steps == [names]


@pytest.mark.parametrize(
    ("names", "new", "message"),
    [
        ([], [], r"^dataset: every class is in a step already; put images of a new one there$"),
        (["dog"], ["ant"], r"^dog: in step 2 already; name classes that are new$"),
        (
            ["elk"],
            ["ant"],
            r"^params\.yaml: protocol\.steps: 'elk' is no class of the data set; it has ant, bee, cat, dog$",
        ),
    ],
)
def test_what_cannot_be_added_changes_nothing(names: list[str], new: list[str], message: str) -> None:
    for name in new:
        bring(name)
    before = read_text()
    with pytest.raises(UserError, match=message):
        add_classes(names)
    assert (read_text(), chain_length()) == (before, 4)


def test_a_budget_that_is_too_small_changes_nothing() -> None:
    set_parameters(PARAMS, {"memory.budget": 3})
    bring("ant")
    before = read_text()
    with pytest.raises(
        UserError, match=r"^params\.yaml: memory\.budget: 3 leaves no exemplar for each of 4 classes"
    ):
        add_classes([])
    assert read_text() == before


def test_classes_of_a_compressed_archive_are_named() -> None:
    Path("images.tar.gz").write_bytes(b"\x1f\x8b")
    set_parameters(PARAMS, {"dataset.path": "images.tar.gz"})
    with pytest.raises(
        UserError, match=r"^dataset: only its images tell .+; name them, `der add NAME \.\.\.`$"
    ):
        add_classes([])
    add_classes(["ant"])
    assert steps() == [*FINISHED, ["ant"]]


def test_an_archive_that_is_not_compressed_names_its_classes() -> None:
    for name in ("ant", "bee", "cat", "dog"):
        for index in "01":
            write(Path("data/images/train", name, f"{index}.png"))
    shutil.make_archive("images", "tar", "data/images")
    set_parameters(PARAMS, {"dataset.path": "images.tar"})
    add_classes([])
    assert steps() == [*FINISHED, ["ant"]]


def test_without_a_finished_step(place: Path) -> None:
    for step in (1, 2):
        Path(f"data/checkpoints/{step}/network.json").unlink()
    with pytest.raises(
        UserError, match=r"^data/checkpoints: no finished step to add to; run `dvc repro` first$"
    ):
        add_classes(["ant"])


@pytest.mark.parametrize(
    ("new", "first"),
    [(["ant"], 1), (["bug", "emu"], 1), (["cow", "cub"], 2)],
    ids=["front", "both", "middle"],
)
def test_new_classes_among_known_ones_are_announced(new: list[str], first: int) -> None:
    for name in new:
        bring(name)
    sentence = moved()
    assert sentence is not None
    assert sentence.startswith(
        f"known classes move, for {', '.join(new)} come among them: step {first} and all after it train "
    )
    assert "`der add`" in sentence


def test_nothing_is_announced_where_no_new_class_moves_a_known_one() -> None:
    assert moved() is None
    bring("emu")
    assert moved() is None  # after all others


def test_another_order_or_other_steps_are_no_news() -> None:
    set_parameters(PARAMS, {"protocol.class_order": ["dog", "cat", "bee"]})
    assert moved() is None
    bring("ant")
    set_parameters(PARAMS, {"protocol.steps": [["ant", "bee"], ["cat", "dog"]]})
    assert moved() is None


def test_other_images_are_no_news() -> None:
    Path("data/images/train/dog").rmdir()
    bring("ant")
    assert moved() is None
