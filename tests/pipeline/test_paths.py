"""The chain, classes of a step, what stages leave by the graph, and what tells one result from another."""

from pathlib import Path

import pytest

from der.core.errors import DamageError, UserError
from der.core.files import sealed_directory
from der.pipeline.project import (
    CHAIN,
    FINGERPRINTS,
    INPUT,
    PLOTS,
    SUMMARY,
    WHOLE,
    chain_length,
    digest_outputs,
    is_unused,
    list_outputs,
    list_stages,
    mark_unused,
    read_task,
    sealed,
    stages_of,
    train_images,
    write_chain,
    write_classes,
)

pytestmark = pytest.mark.usefixtures("place")


def write_task(text: bytes) -> None:
    with sealed_directory(Path("data/tasks/1/train")) as directory:
        (directory / "ant.npy").write_bytes(text)


def test_every_stage_of_the_graph_has_outputs_of_its_own() -> None:
    stages = [stage for stages in list_stages().values() for stage in stages]
    outputs = [output for stage in stages for output in list_outputs(stage)]
    assert len(set(outputs)) == len(outputs) > len(stages)
    assert not [output for output in outputs if "$" in str(output)]
    assert Path("data/checkpoints/2") in list_outputs("train_task@2")
    assert Path("metrics/summary.json") in list_outputs("summarize")
    with pytest.raises(UserError, match=r"^dvc\.yaml: no stage odd; restore it"):
        list_outputs("odd")


def test_what_is_sealed_is_all_that_stages_read_of_each_other() -> None:
    stages = [stage for stages in list_stages().values() for stage in stages]
    outputs = {output for stage in stages for output in list_outputs(stage)}
    alone = {FINGERPRINTS, INPUT, SUMMARY, PLOTS}  # with digests of their own, or for people
    owners = [{one, *one.parents} & outputs for one in sealed(chain_length())]
    assert all(len(found) == 1 for found in owners)
    assert set().union(*owners) == outputs - alone


def test_stages_of_a_protocol_shorter_than_the_chain() -> None:
    stages = stages_of(2)
    assert {"split", "train_task@1", "train_task@2", "evaluate@2", "report"} <= set(stages)
    assert not [stage for stage in stages if stage.endswith("@3")]
    steps = [f"{stage}@{step}" for step in (1, 2) for stage in ("train_task", "build_memory", "evaluate")]
    assert stages == ["check", "download", "split", "initialize", *steps, "summarize", "report"]


def test_large_files_are_told_by_their_size() -> None:
    digests = []
    for text in ("a" * (WHOLE + 1), "b" * (WHOLE + 1), "b" * (WHOLE + 2), "b" * WHOLE, "a" * WHOLE):
        Path("data/raw").mkdir(parents=True, exist_ok=True)
        Path("data/raw/file").write_text(text, encoding="utf-8")
        digests.append(digest_outputs("download"))
    first, second, *others = digests
    assert first == second
    assert len({first, *others}) == 4


def test_sealed_directories_are_told_by_their_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    write_task(b"a" * (WHOLE + 1))
    first = digest_outputs("split")
    write_task(b"b" * (WHOLE + 1))  # of the same size
    assert digest_outputs("split") != first
    write_task(b"a" * (WHOLE + 1))
    Path("data/tasks/1/train/ant.npy").unlink()  # not even opened
    assert digest_outputs("split") == first


def test_a_marker_is_no_task() -> None:
    mark_unused("split", 3, train_images(3))
    assert is_unused(train_images(3))
    with pytest.raises(DamageError, match=r"^data/tasks/3/train/classes\.json: cannot be read"):
        read_task(train_images(3), 3)
    write_task(b"images")
    assert not is_unused(train_images(1))
    with pytest.raises(DamageError, match=r"^data/tasks/2/train/manifest\.json: cannot be read"):
        is_unused(train_images(2))


@pytest.mark.parametrize("length", [1, 2, 11])
def test_the_length_is_what_was_written(length: int) -> None:
    write_chain(length)
    assert chain_length() == length


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
        CHAIN.unlink()
    else:
        CHAIN.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"^chain\.yaml: missing or damaged; run `der chain`$"):
        chain_length()


@pytest.mark.parametrize("steps", [[["ant", "bee"]], [["ant"], ["bee", "Größe"], ["1"]]])
def test_the_classes_are_those_that_were_written(steps: list[list[str]]) -> None:
    images = train_images(len(steps))
    with sealed_directory(images) as directory:
        write_classes(directory, steps)
    assert read_task(images, len(steps)) == steps


def test_the_classes_of_another_step_are_named() -> None:
    images = train_images(2)
    with sealed_directory(images) as directory:
        write_classes(directory, [["ant"]])
    with pytest.raises(
        UserError, match=r"^data/tasks/2/train/classes\.json: not the classes of 2 steps; run `dvc repro`$"
    ):
        read_task(images, 2)
