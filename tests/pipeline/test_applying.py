"""How a preset is applied, and what that says."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from der.core.errors import UserError
from der.pipeline import paths
from der.pipeline.edits import apply_preset, resize_chain
from der.pipeline.lockfile import LOCK, stages_to_run
from der.pipeline.params import compare, read_text, value_at
from der.pipeline.planning import planned_steps
from der.pipeline.presets import PRESETS, load_order, load_preset, parse_settings
from der.pipeline.steps import chain_length, write_chain
from der.settings.yaml import parse_yaml, put_values
from tests.pipeline.clones import COMMITTED, NAMES, REPOSITORY, make_clone, settings_of


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what presets read and write, as the current directory."""
    return make_clone(tmp_path, monkeypatch)


@pytest.mark.usefixtures("place")
def test_what_was_there_before_does_not_matter() -> None:
    fresh = {name: put_values(COMMITTED, load_preset(name)) for name in NAMES}
    text = COMMITTED
    for name in [*NAMES, *reversed(NAMES), *NAMES[::3], *NAMES[::-5]]:
        text = put_values(text, load_preset(name))
        assert text == fresh[name], name


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", NAMES)
def test_comments_and_places_are_kept(name: str) -> None:
    mine = COMMITTED.replace("path: data/images        #", 'path: "/my images"       # mine:')
    assert mine != COMMITTED
    applied = put_values(mine, load_preset(name))
    assert comments(applied) == comments(mine)
    assert '  path: "/my images"       # mine:' in applied
    assert not re.search(r" $", applied, re.MULTILINE)


def test_an_edit_in_another_style_is_replaced(place: Path) -> None:
    block = "masks:\n    sparsity_weight: 1\n    sharpness: 9\n    rate_factor: 1\n    start_mean: 1\n"
    edited = re.sub(r"masks: null.*\n", block + "    start_deviation: 0\n", COMMITTED)
    assert parse_settings(edited).train.masks is not None
    edited = re.sub(r"milestones: \[.*", "milestones:\n      - 3", edited, count=1)
    Path("params.yaml").write_text(edited, encoding="utf-8")
    apply_preset("paper_b0_10_masks")
    assert "  masks: {sparsity_weight: 1.5, " in read_text()
    Path("params.yaml").write_text(edited, encoding="utf-8")
    apply_preset("digits")
    assert parse_settings(read_text()) == parse_settings(COMMITTED)


def test_printed_changes(place: Path) -> None:
    lock_all()
    assert apply_preset("digits") == "preset digits: 0 values of params.yaml changed"
    apply_preset("paper_b0_10")
    lock_all()
    assert apply_preset("paper_b50_10").splitlines() == [
        "preset paper_b50_10: 8 values of params.yaml changed",
        "  protocol.first_classes: 10 -> 50",
        "  protocol.later_classes: 10 -> 5",
        "  train.base.epochs: 170 -> 200",
        "  train.base.milestones: [110, 130] -> [60, 120, 160]",
        "  train.base.warmup_epochs: 10 -> 0",
        "  train.base.reinitialize_heads: true -> false",
        "  memory.budget: 2000 -> 20",
        "  memory.allocation: total -> per_class",
        "chain.yaml: 10 -> 11 steps",
        "`dvc repro` runs split, train_task@1, train_task@11, build_memory@1 to @11, evaluate@11, summarize, "
        "report, and what follows",
    ]


def test_a_dataset_path_that_dvc_will_not_find_is_named(place: Path) -> None:
    Path("params.yaml").write_text(COMMITTED.replace("path: data/images", "path: my.zip"), encoding="utf-8")
    assert apply_preset("notebook").splitlines()[-1] == (
        "dataset.path: there is no my.zip, and DVC looks for it whatever the source; name what exists, "
        "data/images for one"
    )
    (place / "my.zip").touch()
    assert "dataset.path" not in apply_preset("notebook")


def test_long_lists_are_shortened(place: Path) -> None:
    apply_preset("paper_b0_10")
    assert apply_preset("paper_b0_10", "podnet_3").splitlines()[1] == (
        "  protocol.class_order: [television, apple, oak_tree, ... 100 in all] -> "
        "[sea, orchid, lobster, ... 100 in all]"
    )
    assert parse_settings(read_text()).protocol.class_order == load_order("podnet_3")


@pytest.mark.parametrize(
    ("name", "steps"), [("joint", 1), ("paper_b0_20", 20), ("paper_b0_50", 50), ("paper_b50_10", 11)]
)
def test_the_chain_is_as_long_as_the_protocol(place: Path, name: str, steps: int) -> None:
    assert f"chain.yaml: 4 -> {steps} steps" in apply_preset(name).splitlines()
    assert chain_length() == steps
    assert "chain.yaml" not in apply_preset(name)
    apply_preset("digits")
    assert chain_length() == 4


def test_the_chain_stays_where_only_the_images_tell_the_steps(place: Path) -> None:
    assert "chain.yaml" not in apply_preset("imagenet100_b0_10")
    assert chain_length() == 4


@pytest.mark.usefixtures("place")
def test_steps_that_are_named_are_known_whatever_the_source() -> None:
    settings = settings_of("imagenet100_b0_10")
    protocol = replace(settings.protocol, steps=[["cat", "dog"], ["bird"]])
    assert planned_steps(settings) is None
    assert planned_steps(replace(settings, protocol=protocol)) == [["cat", "dog"], ["bird"]]


def test_a_damaged_chain_leaves_the_parameters_as_they_are(place: Path) -> None:
    Path("chain.yaml").write_text("steps: 3\n", encoding="utf-8")
    before = read_text()
    with pytest.raises(UserError, match=r"^chain\.yaml: missing or damaged; run `der chain`$"):
        apply_preset("notebook")
    assert read_text() == before


EVERYTHING = [
    *("check", "download", "split", "initialize"),
    *("train_task@1 to @4", "build_memory@1 to @4", "evaluate@1 to @4"),
    *("summarize", "report"),
]


def lock_all() -> None:
    """Leave the dvc.lock of a run with the parameters of params.yaml, as far as parameters go."""
    content = yaml.safe_load(read_text())
    graph = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    steps = yaml.safe_load(Path("chain.yaml").read_text(encoding="utf-8"))["steps"]
    stages: dict[str, Any] = {}
    for name, stage in graph.items():
        phases = {f"{name}@{step}": item["phase"] for step, item in steps.items()}
        body = stage["do"] if "foreach" in stage else stage
        for full, phase in (phases if "foreach" in stage else {name: ""}).items():
            keys = [key.replace("${item.phase}", phase) for key in body.get("params", [])]
            locked = {key: content[key] if key in content else value_at(content, key) for key in keys}
            stages[full] = {"cmd": "...", "outs": []} | (
                {"params": {"params.yaml": locked}} if locked else {}
            )
    LOCK.write_text(json.dumps({"schema": "2.0", "stages": stages}) + "\n", encoding="utf-8")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("edits", "stages"),
    [
        ({}, []),
        ({"train.base.epochs": 3}, ["train_task@1", "report"]),
        ({"train.incremental.classifier.epochs": 3}, ["train_task@2 to @4", "report"]),
        ({"train.masks": {"sharpness": 9}, "dataset.seed": 3}, ["download", "train_task@1 to @4", "report"]),
        ({"evaluate.group_labels": 3}, ["evaluate@1 to @4", "report"]),
    ],
)
def test_stages_that_ran_with_other_parameters(edits: dict[str, Any], stages: list[str]) -> None:
    lock_all()
    content = yaml.safe_load(read_text())
    for key, value in edits.items():
        *sections, last = key.split(".")
        inner = content
        for name in sections:
            inner = inner[name]
        inner[last] = value
    assert stages_to_run(content) == stages


@pytest.mark.usefixtures("place")
def test_stages_that_never_ran() -> None:
    content = yaml.safe_load(read_text())
    assert stages_to_run(content) == EVERYTHING
    lock_all()
    write_chain(6)
    content["train"]["base"]["epochs"] = 3
    new = [f"{stage}@5 to @6" for stage in ("train_task", "build_memory", "evaluate")]
    assert stages_to_run(content) == ["train_task@1", *new, "report"]


@pytest.mark.usefixtures("place")
def test_what_runs_does_not_depend_on_how_often_a_preset_is_applied() -> None:
    lock_all()
    first, second = (apply_preset("paper_b0_10").splitlines() for _ in range(2))
    assert second[0] == "preset paper_b0_10: 0 values of params.yaml changed"
    assert first[-1] == second[-1]
    assert first[-1].startswith(
        "`dvc repro` runs download, split, initialize, train_task@1 to @10, build_memory@1 to @10"
    )


def test_a_preset_that_does_not_fit_is_not_written(place: Path) -> None:
    (PRESETS / "wrong.yaml").write_text("# Wrong.\nbase: digits\nmemory:\n  budgets: 3\n", encoding="utf-8")
    (PRESETS / "worse.yaml").write_text("# Worse.\nbase: digits\nmemory:\n  budget: 0\n", encoding="utf-8")
    before = read_text()
    for name, message in (
        ("wrong", "params.yaml: memory.budgets: unknown key; did you mean budget?"),
        (
            "worse",
            "params.yaml: memory.budget: 0 is out of range; write a number of at least 1 and at most "
            "2147483647",
        ),
    ):
        with pytest.raises(UserError) as caught:
            apply_preset(name)
        assert str(caught.value) == message
    assert read_text() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("notebok",), "notebok: no preset of that name; did you mean notebook?"),
        (("paper_b0_10", "podnet"), "podnet: no class order of that name; did you mean podnet_3"),
        (("digits", "podnet_1"), "--class-order: podnet_1 names the classes of CIFAR-100, but preset digits"),
        (("quite different",), "quite different: no preset of that name; known: ablation_no_auxiliary, "),
    ],
)
def test_unknown_names(place: Path, words: tuple[str, ...], message: str) -> None:
    before = read_text()
    with pytest.raises(UserError) as caught:
        apply_preset(*words)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert read_text() == before


def test_params_that_are_no_yaml(place: Path) -> None:
    Path("params.yaml").write_text("dataset: [\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^params\.yaml: not valid YAML \("):
        apply_preset("digits")


def test_command_line() -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "der", "preset", *words]
        return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True)

    listed = call()
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [*NAMES, "--class-order,"]
    wrong = call("joined")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1)
    assert wrong.stderr.startswith("error: joined: no preset of that name")


@pytest.mark.usefixtures("place")
def test_changes_between_texts() -> None:
    new = COMMITTED.replace("masks: null", "masks: {sharpness: 2}").replace("budget: 200 ", "budget: 20 ")
    assert [
        str(change) for change in compare(parse_yaml(COMMITTED, paths.PARAMS), parse_yaml(new, paths.PARAMS))
    ] == [
        "train.masks: null -> {sharpness: 2}",
        "memory.budget: 200 -> 20",
    ]


def test_a_chain_that_would_cut_the_protocol_off_is_refused(place: Path) -> None:
    left = paths.checkpoint(4) / "network.json"
    left.parent.mkdir(parents=True)
    left.touch()
    with pytest.raises(UserError, match=r"^protocol: 4 steps, which 3 would cut off; shorten it in params"):
        resize_chain(3)
    assert left.exists() and chain_length() == 4
    assert [resize_chain(length) for length in (4, 9, None)] == [4, 9, 4]
