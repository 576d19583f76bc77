"""What stages read of the project's files and what they leave; what tells one result from another."""

import re
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import DamageError, UserError
from der.core.files import sealed_directory
from der.pipeline import project
from der.settings.experiment import Settings, preset
from der.settings.parsing import list_missing
from der.settings.sections import CompressSettings, PhaseSettings, all_values
from tests.locations import ROOT

pytestmark = pytest.mark.usefixtures("place")
COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")


def write_task(text: bytes) -> None:
    with sealed_directory(Path("data/tasks/1/train")) as directory:
        (directory / "ant.npy").write_bytes(text)


def test_every_stage_of_the_graph_has_outputs_of_its_own() -> None:
    stages = [stage for stages in project.list_stages().values() for stage in stages]
    outputs = [output for stage in stages for output in project.list_outputs(stage)]
    assert len(set(outputs)) == len(outputs) > len(stages)
    assert not [output for output in outputs if "$" in str(output)]
    assert Path("data/checkpoints/2") in project.list_outputs("train_task@2")
    assert Path("metrics/summary.json") in project.list_outputs("summarize")
    with pytest.raises(UserError, match=r"^dvc\.yaml: no stage odd; restore it"):
        project.list_outputs("odd")


def test_what_is_sealed_is_all_that_stages_read_of_each_other() -> None:
    stages = [stage for stages in project.list_stages().values() for stage in stages]
    outputs = {output for stage in stages for output in project.list_outputs(stage)}
    alone = {
        project.FINGERPRINTS,
        project.INPUT,
        project.COMPRESS,
        project.SUMMARY,
        project.PLOTS,
    }  # with digests of their own, or for people
    alone |= {output for output in outputs if output.parent == project.MADE_OF}
    owners = [{one, *one.parents} & outputs for one in project.sealed(project.chain_length())]
    assert all(len(found) == 1 for found in owners)
    assert set().union(*owners) == outputs - alone


def test_stages_of_a_protocol_shorter_than_the_chain() -> None:
    stages = project.stages_of(2)
    assert {"split", "train_task@1", "train_task@2", "evaluate@2", "report"} <= set(stages)
    assert not [stage for stage in stages if stage.endswith("@3")]
    steps = [f"{stage}@{step}" for step in (1, 2) for stage in project.STEP_STAGES]
    assert stages == ["check", "download", "split", "initialize", "features", *steps, "summarize", "report"]


def test_large_files_are_told_by_their_size() -> None:
    digests = []
    for text in (
        "a" * (project.WHOLE + 1),
        "b" * (project.WHOLE + 1),
        "b" * (project.WHOLE + 2),
        "b" * project.WHOLE,
        "a" * project.WHOLE,
    ):
        Path("data/raw").mkdir(parents=True, exist_ok=True)
        Path("data/raw/file").write_text(text, encoding="utf-8")
        digests.append(project.digest_outputs("download"))
    first, second, *others = digests
    assert first == second
    assert len({first, *others}) == 4


def test_sealed_directories_are_told_by_their_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    write_task(b"a" * (project.WHOLE + 1))
    first = project.digest_outputs("split")
    write_task(b"b" * (project.WHOLE + 1))  # of the same size
    assert project.digest_outputs("split") != first
    write_task(b"a" * (project.WHOLE + 1))
    Path("data/tasks/1/train/ant.npy").unlink()  # not even opened
    assert project.digest_outputs("split") == first


def test_a_marker_is_no_task() -> None:
    project.mark_unused("split", 3, project.train_images(3))
    assert project.is_unused(project.train_images(3))
    with pytest.raises(DamageError, match=r"^data/tasks/3/train/classes\.json: cannot be read"):
        project.read_task(project.train_images(3), 3)
    write_task(b"images")
    assert not project.is_unused(project.train_images(1))
    with pytest.raises(DamageError, match=r"^data/tasks/2/train/manifest\.json: cannot be read"):
        project.is_unused(project.train_images(2))


@pytest.mark.parametrize("length", [1, 2, 11])
def test_the_length_is_what_was_written(length: int) -> None:
    project.write_chain(length)
    assert project.chain_length() == length


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[steps]",
        "steps: 3",
        "steps: [",
        "steps: {}",
        'step: {"1": {}}',
        "steps: {1: {}, 2: {}}",
        'steps: {"1": {}, "3": {}}',
        'steps: {"1": {previous: 0, phase: base}, "2": {previous: 0, phase: base}}',
        "steps: 2024-02-31",
        b"\xff",
    ],
    ids=str,
)
def test_a_chain_that_is_none_says_how_to_write_one(content: str | bytes | None, place: Path) -> None:
    if content is None:
        project.CHAIN.unlink()
    else:
        project.CHAIN.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"^chain\.yaml: missing or damaged; run `der chain`$"):
        project.chain_length()


@pytest.mark.parametrize("steps", [[["ant", "bee"]], [["ant"], ["bee", "Größe"], ["1"]]])
def test_the_classes_are_those_that_were_written(steps: list[list[str]]) -> None:
    images = project.train_images(len(steps))
    with sealed_directory(images) as directory:
        project.write_classes(directory, steps)
    assert project.read_task(images, len(steps)) == steps


def test_the_classes_of_another_step_are_named() -> None:
    images = project.train_images(2)
    with sealed_directory(images) as directory:
        project.write_classes(directory, [["ant"]])
    with pytest.raises(
        UserError, match=r"^data/tasks/2/train/classes\.json: not the classes of 2 steps; run `dvc repro`$"
    ):
        project.read_task(images, 2)


# params.yaml and data/input.json


DISTILLATION = "train.incremental.distillation"
DEFAULTED = {
    *(
        "network.tuned",
        "network.weights",
        "train.averaging",
        "train.classifier",
        "train.shrinkage",
        DISTILLATION,
    ),
    *(f"train.augmentation.{name}" for name in ("policy", "cutout", "cutmix")),
    *(f"{DISTILLATION}.{name}" for name in ("features", "logits")),
}


def test_every_parameter_that_dvc_reads_is_there_or_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    listed = {
        key
        for one in project.read_stages().values()
        for key in project.read_names(one.get("do", one), "params")
    }
    named = {key.replace("${item.phase}", phase) for key in listed for phase in ("base", "incremental")}
    assert {"network.tuned", "network.weights", "train.base", "memory"} <= named
    for key in sorted(named | {key for one in named for key in keys_below(one)}):
        content: Any = project.read_params()
        *sections, last = key.split(".")
        del reduce(getitem, sections, content)[last]
        if key in DEFAULTED or key.startswith("compress"):  # stage check adds them
            assert list_missing(
                all_values(project.parse_section(Settings, content, project.PARAMS)), content
            ) == [key]
            continue
        with pytest.raises(UserError, match=rf"^params\.yaml: {re.escape(key)}: missing; add it with "):
            project.parse_section(Settings, content, project.PARAMS)


def keys_below(key: str) -> list[str]:
    value = project.value_at(project.read_params(), key)
    names = [f"{key}.{name}" for name in value] if isinstance(value, dict) else []
    return [*names, *(one for name in names for one in keys_below(name))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found; run from the repository's root"),
        (COMMITTED.encode("utf-16"), "not UTF-8; save it in that encoding"),
        (b"", "holds no keys and values; restore it with `git checkout params.yaml`"),
        (b"[1]", "holds no keys and values; restore it with `git checkout params.yaml`"),
        (b"train: 5\n", "train.base: is empty; write the keys epochs, "),
        (COMMITTED.replace("epochs: 40 ", "epochs: 0 ").encode(), "train.base.epochs: 0 is out of range; "),
    ],
)
def test_what_a_stage_cannot_read(content: bytes | None, message: str) -> None:
    Path("params.yaml").unlink()
    if content is not None:
        Path("params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape('params.yaml: ' + message)}"):
        project.load_section(PhaseSettings, "train.base", project.read_params())


def test_the_side_that_is_written_is_read() -> None:
    dataset = preset("photos").dataset
    with pytest.raises(UserError, match=r"^data/input\.json: cannot be read"):
        project.with_side(dataset)
    project.write_side(224)
    assert project.with_side(dataset).side == 224
    before = project.INPUT.stat().st_ino
    project.write_side(224)
    assert (
        project.INPUT.stat().st_ino == before
    )  # the same file: what depends on it need not be looked at again
    project.write_side(None)
    with pytest.raises(UserError, match=r"^data/input\.json: holds no side; run `dvc repro`, without"):
        project.with_side(dataset)
    digits = preset("digits").dataset
    assert project.with_side(digits) is digits


@pytest.mark.parametrize(("steps", "wanted"), [(None, []), ("last", [3]), ("all", [1, 2, 3, 4])])
def test_the_steps_to_compress_are_written_for_each_alone(steps: Any, wanted: list[int]) -> None:
    project.write_compression(
        project.plan_compression(CompressSettings(steps, epochs=7), last=3)
    )  # of a chain of four
    kept = project.COMPRESS.stat().st_ino
    assert [step for step in range(1, 5) if project.read_compression(step)] == wanted
    assert {project.read_compression(step) for step in wanted} <= {CompressSettings(None, epochs=7)}
    project.write_compression(project.plan_compression(CompressSettings(steps, epochs=7), last=3))
    assert project.COMPRESS.stat().st_ino == kept
    project.write_chain(2)
    project.write_compression(project.plan_compression(CompressSettings(steps, epochs=7), last=2))
    assert sorted(path.name for path in project.COMPRESS.iterdir()) == ["1.json", "2.json"]


@pytest.mark.parametrize("edit", ["", "compress: {steps: last}\n"])
def test_keys_of_compress_may_be_absent(edit: str) -> None:
    project.PARAMS.write_text(COMMITTED[: COMMITTED.index("compress:")] + edit)
    settings = project.parse_section(Settings, project.read_params(), project.PARAMS)
    assert settings.compress == CompressSettings("last" if edit else None)


STEPS = [[f"name {step}-{label}" for label in range(25)] for step in range(5)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        ({"sharpness": 2, "mean": None}, "{sharpness: 2, mean: null}"),
        (["a", "b, c", "d", "e"], "[a, 'b, c', d, e]"),
        ([f"class, {label}" for label in range(100)], "['class, 0', 'class, 1', 'class, 2', ... 100 in all]"),
        ([["a", "b"]] * 20, "[[a, b], [a, b], [a, b], ... 20 in all]"),
        (STEPS[:1], "[[name 0-0, name 0-1, name 0-2, ... 25 in all]]"),
    ],
)
def test_long_lists_are_cut_at_every_depth(value: object, text: str) -> None:
    assert project.shorten(value) == text
