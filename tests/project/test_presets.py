"""Every preset: its values, its protocol, how it is applied, and that every phase of it runs."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from der.common import files
from der.common.errors import UserError
from der.common.serialization import read_json
from der.data.class_arrays import class_path, read_classes
from der.data.exemplars import empty_memory
from der.data.protocol import plan_steps
from der.memory.build import build_memory
from der.model.checkpoint import Checkpoint
from der.model.forward import run_network
from der.project import paths
from der.project.applying import apply_preset, count_steps
from der.project.chain import chain_length, write_chain
from der.project.editing import check_text, compare, find_changes, look_up, put_values, read_params
from der.project.lockfile import LOCK, stages_to_run
from der.project.presets import ORDERS, PRESETS, list_names, load_order, load_preset
from der.settings.experiment import Settings
from der.settings.training import AugmentationSettings, PhaseSettings, ScheduleSettings, TrainSettings
from der.train.incremental_step import TrainedStep, train_step
from der.train.log import EpochRecord
from der.train.resume.state import Saved
from der.train.training_images import gather_step
from stages import split
from tests.locations import ROOT

REPOSITORY = ROOT
COMMITTED = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
NAMES = list_names(REPOSITORY / PRESETS)
CPU = torch.device("cpu")

# Classes at the first step, at every later one, and steps.
PROTOCOLS = {
    "digits": (4, 2, 4),
    "digits_masks": (4, 2, 4),
    "notebook": (25, 25, 4),
    "joint": (100, 0, 1),
    "paper_b0_5": (20, 20, 5),
    "paper_b0_20": (5, 5, 20),
    "paper_b0_50": (2, 2, 50),
    "paper_b50_2": (50, 25, 3),
    "paper_b50_5": (50, 10, 6),
    "paper_b50_10": (50, 5, 11),
}
TEN_BY_TEN = (10, 10, 10)  # all others
ORDER_DIGESTS = {  # of the names, taken when each was compared with its source
    "authors_0": "b7e843ee907c5721",
    "icarl_1993": "ca4dce77477cb635",
    "podnet_1": "1eb3ab7e9bf9d779",
    "podnet_2": "d5b8793a62bdeb9e",
    "podnet_3": "c896e36352f0f754",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what presets read and write, as the current directory."""
    for name in ("params.yaml", "chain.yaml", "dvc.yaml"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / PRESETS, tmp_path / PRESETS)
    (tmp_path / "data/images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(put_values(COMMITTED, load_preset("digits")), encoding="utf-8")
    write_chain(11)
    return tmp_path


def settings_of(name: str) -> Settings:
    return check_text(put_values(COMMITTED, load_preset(name)))


def class_names(settings: Settings) -> list[str]:
    """All classes of the data set in alphabetical order: CIFAR-100's, or made-up ones."""
    if settings.dataset.source == "cifar100":
        return sorted(load_order("podnet_1"))
    return [f"class {number:02}" for number in range(10 if settings.dataset.source == "digits" else 100)]


# Values


@pytest.mark.usefixtures("place")
def test_the_default_is_the_committed_file() -> None:
    assert put_values(COMMITTED, load_preset("digits")) == COMMITTED


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", NAMES)
def test_protocol(name: str) -> None:
    first, later, count = PROTOCOLS.get(name, TEN_BY_TEN)
    settings = settings_of(name)
    assert count_steps(settings) in (count, 0)  # 0: a folder, of which only split can tell
    steps = plan_steps(class_names(settings), settings.protocol)
    assert [len(step) for step in steps] == [first] + [later] * (count - 1)
    assert sorted(one for step in steps for one in step) == class_names(settings)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_a_preset_holds_only_what_differs_from_its_base(name: str) -> None:
    content = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    base = load_preset(content.pop("base"))
    for key, value in leaves(content):
        own = base
        for part in key.split("."):
            own = own[part]
        assert value != own, f"{key}: that is the base's value"


def leaves(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and key != "masks":
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@pytest.mark.usefixtures("place")
def test_recipes() -> None:
    notebook, pycil, paper, b50, images = (
        settings_of(name)
        for name in ("notebook", "pycil_b0_10", "paper_b0_10", "paper_b50_5", "imagenet100_b0_10")
    )

    def schedule(phase: PhaseSettings) -> tuple[object, ...]:
        return (
            phase.epochs,
            phase.milestones,
            phase.weight_decay,
            phase.batch_size,
            phase.warmup_epochs,
            phase.reinitialize_heads,
        )

    assert schedule(notebook.train.base) == (201, [60, 120, 170], 5e-4, 128, 0, False)
    assert schedule(notebook.train.incremental) == (171, [60, 120, 170], 5e-4, 128, 0, False)
    assert schedule(pycil.train.base) == (200, [60, 120, 170], 5e-4, 128, 0, False)
    assert schedule(pycil.train.incremental) == (170, [80, 120, 150], 2e-4, 128, 0, False)
    for phase in (paper.train.base, paper.train.incremental, b50.train.incremental):
        assert schedule(phase) == (170, [110, 130], 5e-4, 128, 10, True)
    assert schedule(b50.train.base) == (200, [60, 120, 160], 5e-4, 128, 0, False)
    assert [(one.budget, one.allocation) for one in (paper.memory, b50.memory)] == [
        (2000, "total"),
        (20, "per_class"),
    ]
    stage = paper.train.incremental.classifier
    assert (stage.epochs, stage.milestones, stage.weight_decay, stage.batch_size) == (30, [15], 5e-4, 128)
    assert (stage.temperature, images.train.incremental.classifier.temperature) == (5.0, 1.0)
    for phase in (images.train.base, images.train.incremental):
        assert schedule(phase) == (220, [80, 140, 180, 200], 5e-4, 256, 20, True)
    assert (images.network.stem, images.dataset.image_side, images.dataset.source) == ("large", 224, "folder")
    for one in (notebook, pycil, paper, b50, images):
        phases: list[ScheduleSettings] = [one.train.base, one.train.incremental]
        for phase in [*phases, one.train.incremental.classifier]:
            assert (phase.learning_rate, phase.decay, phase.momentum) == (0.1, 0.1, 0.9)
        assert one.train.incremental.auxiliary_weight == 1


@pytest.mark.usefixtures("place")
def test_networks_and_images() -> None:
    settings = {name: settings_of(name) for name in NAMES}
    for name, one in settings.items():
        network = (one.network.backbone, one.network.depth, one.network.stem, one.network.head_bias)
        if name.startswith("digits"):
            assert network == ("cifar_resnet", 32, "small", True)
            continue
        if one.dataset.source == "folder":
            assert network == ("resnet", 18, "large", False)
            assert one.network.mean == [0.485, 0.456, 0.406] and one.network.std == [0.229, 0.224, 0.225]
            assert one.train.augmentation == AugmentationSettings([0.08, 1.0], 0, True, 0.0)
            continue
        wide = ("resnet", 18, "small", False)
        assert network == (
            ("cifar_resnet", 32, "small", True) if name in ("notebook", "pycil_b0_10") else wide
        )
        assert one.network.mean == [0.5071, 0.4867, 0.4408] and one.network.std == [0.2675, 0.2565, 0.2761]
        assert one.train.augmentation == AugmentationSettings(None, 4, True, 63 / 255)


@pytest.mark.usefixtures("place")
def test_an_ablation_is_one_change_to_the_paper() -> None:
    changes = {
        "ablation_no_auxiliary": {"train.incremental.auxiliary_weight": 0},
        "ablation_no_expansion": {"network.expansion": False, "train.incremental.auxiliary_weight": 0},
        "ablation_no_rebalancing": {"train.incremental.rebalancing": "none"},
        "ablation_random_exemplars": {"memory.selection": "random"},
    }
    paper = asdict(settings_of("paper_b0_10"))
    for name, expected in changes.items():
        assert {one.key: one.new for one in compare(paper, asdict(settings_of(name)))} == expected


@pytest.mark.usefixtures("place")
def test_class_orders() -> None:
    alphabetical = sorted(load_order("podnet_1"))
    assert alphabetical[:3] == ["apple", "aquarium_fish", "baby"] and alphabetical[-1] == "worm"
    assert list_names(ORDERS) == ["authors_0", "icarl_1993", "podnet_1", "podnet_2", "podnet_3"]
    for name in list_names(ORDERS):
        assert len(load_order(name)) == 100 and sorted(load_order(name)) == alphabetical
    shuffled = np.random.RandomState(1993).permutation(100)
    assert list(load_order("icarl_1993")) == [alphabetical[label] for label in shuffled]
    starts = {"podnet_1": [87, 0, 52], "podnet_2": [58, 30, 93], "podnet_3": [71, 54, 45]}
    for name, labels in starts.items():
        assert load_order(name)[:3] == [alphabetical[label] for label in labels]
    # What follows the start, against slips of the pen.
    for name, digest in ORDER_DIGESTS.items():
        assert hashlib.sha256(" ".join(load_order(name)).encode()).hexdigest()[:16] == digest


# Applying


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
    assert check_text(edited).train.masks is not None
    edited = re.sub(r"milestones: \[.*", "milestones:\n      - 3", edited, count=1)
    Path("params.yaml").write_text(edited, encoding="utf-8")
    apply_preset("paper_b0_10_masks")
    assert "  masks: {sparsity_weight: 1.5, " in read_params()
    Path("params.yaml").write_text(edited, encoding="utf-8")
    apply_preset("digits")
    assert check_text(read_params()) == check_text(COMMITTED)


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
        "`dvc repro` runs split, train_task@1, build_memory@1 to @11, report, and what follows",
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
    assert check_text(read_params()).protocol.class_order == load_order("podnet_3")


@pytest.mark.parametrize(("name", "steps"), [("paper_b0_20", 20), ("paper_b0_50", 50), ("paper_b50_10", 11)])
def test_the_chain_is_long_enough_and_no_longer_than_as_shipped(place: Path, name: str, steps: int) -> None:
    said = f"chain.yaml: 11 -> {steps} steps" in apply_preset(name).splitlines()
    assert (chain_length(), said) == (steps, steps > 11)
    apply_preset("digits")
    assert chain_length() == 11  # what is finished comes back from DVC's cache
    write_chain(5)
    apply_preset("notebook")
    assert chain_length() == 5


EVERYTHING = [
    *("download", "split", "initialize"),
    *("train_task@1 to @11", "build_memory@1 to @11", "evaluate@1 to @11"),
    *("summarize", "report"),
]


def lock_all() -> None:
    """Leave the dvc.lock of a run with the parameters of params.yaml, as far as parameters go."""
    content = yaml.safe_load(read_params())
    graph = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    steps = yaml.safe_load(Path("chain.yaml").read_text(encoding="utf-8"))["steps"]
    stages: dict[str, Any] = {}
    for name, stage in graph.items():
        phases = {f"{name}@{step}": item["phase"] for step, item in steps.items()}
        body = stage["do"] if "foreach" in stage else stage
        for full, phase in (phases if "foreach" in stage else {name: ""}).items():
            keys = [key.replace("${item.phase}", phase) for key in body.get("params", [])]
            locked = {key: content[key] if key in content else look_up(content, key) for key in keys}
            stages[full] = {"cmd": "..."} | ({"params": {"params.yaml": locked}} if locked else {})
    LOCK.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("edits", "stages"),
    [
        ({}, []),
        ({"train.base.epochs": 3}, ["train_task@1", "report"]),
        ({"train.incremental.classifier.epochs": 3}, ["train_task@2 to @11", "report"]),
        ({"train.masks": {"sharpness": 9}, "dataset.seed": 3}, ["download", "train_task@1 to @11", "report"]),
        ({"evaluate.group_labels": 3}, ["evaluate@1 to @11", "report"]),
    ],
)
def test_stages_that_ran_with_other_parameters(edits: dict[str, Any], stages: list[str]) -> None:
    lock_all()
    content = yaml.safe_load(read_params())
    for key, value in edits.items():
        *sections, last = key.split(".")
        inner = content
        for name in sections:
            inner = inner[name]
        inner[last] = value
    assert stages_to_run(content) == stages


@pytest.mark.usefixtures("place")
def test_stages_that_never_ran() -> None:
    content = yaml.safe_load(read_params())
    assert stages_to_run(content) == EVERYTHING
    lock_all()
    write_chain(13)
    content["train"]["base"]["epochs"] = 3
    new = [f"{stage}@12 to @13" for stage in ("train_task", "build_memory", "evaluate")]
    assert stages_to_run(content) == ["train_task@1", *new, "report"]


@pytest.mark.usefixtures("place")
def test_what_runs_does_not_depend_on_how_often_a_preset_is_applied() -> None:
    lock_all()
    first, second = (apply_preset("paper_b0_10").splitlines() for _ in range(2))
    assert second[0] == "preset paper_b0_10: 0 values of params.yaml changed"
    assert first[-1] == second[-1]
    assert first[-1].startswith(
        "`dvc repro` runs download, split, train_task@1 to @11, build_memory@1 to @11"
    )


def test_a_preset_that_does_not_fit_is_not_written(place: Path) -> None:
    Path("presets/wrong.yaml").write_text("# Wrong.\nbase: digits\nmemory:\n  budgets: 3\n", encoding="utf-8")
    Path("presets/worse.yaml").write_text("# Worse.\nbase: digits\nmemory:\n  budget: 0\n", encoding="utf-8")
    before = read_params()
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
    assert read_params() == before


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
    before = read_params()
    with pytest.raises(UserError) as caught:
        apply_preset(*words)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert read_params() == before


def test_params_that_are_no_yaml(place: Path) -> None:
    Path("params.yaml").write_text("dataset: [\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^params\.yaml: not valid YAML \("):
        apply_preset("digits")


def test_command_line() -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "der.project.applying", *words]
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
    assert [str(change) for change in find_changes(COMMITTED, new)] == [
        "train.masks: null -> {sharpness: 2}",
        "memory.budget: 200 -> 20",
    ]


# Every phase


class Nobody:
    """A listener that hears nothing, and a keeper that keeps nothing."""

    def on_phase(self, name: str, epochs: int, images: int) -> None: ...
    def on_resume(self, epochs: int) -> None: ...
    def on_images(self, images: int) -> None: ...
    def on_epoch(self, record: EpochRecord) -> None: ...
    def load(self, phase: str) -> Saved | None: ...
    def save(self, *_: object, last: bool) -> None: ...


def cut_phase(phase: Any) -> Any:
    """One epoch, or one of warm-up and one after."""
    warmup = min(1, phase.warmup_epochs)
    return replace(phase, epochs=1 + warmup, warmup_epochs=warmup, milestones=[])


def cut(settings: TrainSettings) -> TrainSettings:
    """As short as training can be, in float32: CPUs are slow otherwise."""
    later = cut_phase(settings.incremental)
    later = replace(later, classifier=cut_phase(later.classifier))
    masks = settings.masks and replace(settings.masks, start_mean=0.0)  # no time to fall from higher
    return replace(
        settings, precision="float32", base=cut_phase(settings.base), incremental=later, masks=masks
    )


def take(previous: Checkpoint, number: int, settings: Settings, memory: Any) -> TrainedStep:
    steps = read_json(paths.task(number) / "classes.json")["steps"]
    images = gather_step(read_classes(paths.task(number) / "train", steps[-1]), memory)
    nobody = Nobody()
    return train_step(previous, steps, images, settings.network, cut(settings.train), CPU, nobody, nobody)


@pytest.mark.parametrize("name", NAMES)
def test_every_phase_runs(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split, then both steps' phases, on noise: two images a class, of fewer pixels but the same network."""
    first, later, count = PROTOCOLS.get(name, TEN_BY_TEN)
    monkeypatch.setattr(files, "_flush", lambda path: None)  # thousands of files, and no power cut here
    apply_preset(name)
    settings = check_text(read_params())
    side = 32 if settings.network.stem == "large" else 8
    stream = np.random.RandomState(0)
    for part, images in (("train", 2), ("test", 1)):
        (paths.RAW / part).mkdir(parents=True)
        for one in class_names(settings):
            noise = stream.randint(0, 256, (images, side, side, settings.dataset.channels)).astype(np.uint8)
            np.save(class_path(paths.RAW / part, one), noise)
    assert split.run().startswith(f"split: {count} steps of {first}")

    trained = take(None, 1, settings, empty_memory())
    assert {record.phase for record in trained.records} == {"representation"}
    check(trained, settings, first, 1)
    if count == 1:
        return
    metadata = trained.checkpoint.metadata
    classes = read_classes(paths.task(1) / "train", metadata.steps[0])
    memory = build_memory(
        empty_memory(),
        classes,
        settings.memory,
        lambda images: run_network(trained.checkpoint.network, metadata.normalization, images, CPU).features,
    )
    trained = take(trained.checkpoint, 2, settings, memory)
    rebalancing = settings.train.incremental.rebalancing
    phases = ["representation", *(["classifier"] if rebalancing == "classifier_learning" else [])]
    assert list(dict.fromkeys(record.phase for record in trained.records)) == phases
    check(trained, settings, first + later, 2 if settings.network.expansion else 1)
    metadata = trained.checkpoint.metadata
    assert metadata is not None and (metadata.gamma is not None) == (rebalancing == "weight_alignment")


def check(trained: TrainedStep, settings: Settings, classes: int, extractors: int) -> None:
    """What the preset asks for is in the network."""
    network, metadata = trained.checkpoint.network, trained.checkpoint.metadata
    assert (network.classes, len(network.extractors)) == (classes, extractors)
    assert (network.head.bias is not None) == settings.network.head_bias
    assert all((shape is not None) == (settings.train.masks is not None) for shape in metadata.shapes)
    assert all(np.isfinite(record.loss) for record in trained.records)
