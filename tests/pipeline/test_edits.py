"""`der preset`, `der add` and `der chain`: what they write, what they say, and what they refuse."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.files import sealed_directory
from der.pipeline import dvc, edits, project
from der.pipeline.edits import add_classes, apply_preset, describe_move, planned_steps, resize_chain
from der.pipeline.presets import PRESETS, load_settings
from der.settings.experiment import read_order
from der.settings.parsing import put_values
from tests.locations import ROOT
from tests.pipeline.clones import COMMITTED, NAMES
from tests.runs.lab import digests, set_parameters

FOLDER = {"dataset": {"source": "folder"}, "protocol": {"first_classes": 2, "later_classes": 1}}
FINISHED = [["bee", "cat"], ["dog"]]
WHERE, NAME_THEM = r"params\.yaml: ", r"name the new ones, `der add NAME \.\.\.`"
STEP = 5  # past the end of the digits' chain


@pytest.fixture(autouse=True)
def place(clone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the commands read and write, as the current directory; DVC's cache is empty."""
    monkeypatch.setattr(dvc, "find_cache", lambda: clone / "cache")
    return clone


@pytest.fixture
def finished() -> None:
    """Two finished steps of the clone's own images, the checkpoint of a third a marker."""
    project.PARAMS.write_text(put_values(COMMITTED, FOLDER), encoding="utf-8")
    for name in ("bee", "cat", "dog"):
        bring(name)
        write(Path("data/raw/train", f"{name}.npy"))
    for step in (0, 1, 2):
        write(project.checkpoint(step) / "network.json", json.dumps({"steps": FINISHED[:step]}))
    write(project.checkpoint(3) / "unused.json")
    for name in ("3.partial", "4_old", "exports", "3\u00b2"):  # no steps
        write(Path("data/checkpoints", name, "network.json"), json.dumps({"steps": [["x"]]}))


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def bring(*names: str) -> None:
    for name in names:
        Path("data/images/train", name).mkdir(parents=True)


def steps() -> Any:
    return load_settings().protocol.steps


# der preset


def test_what_was_there_before_goes_but_for_places() -> None:
    path = 'path: "/my images" # mine'
    mine = re.sub("path: data/images .*", path, COMMITTED).replace(
        "milestones: [20, 32]", "milestones:\n    - 3"
    )
    for name in ("paper_b0_10_masks", "digits"):
        project.PARAMS.write_text(mine, encoding="utf-8")
        apply_preset(name)
        first = project.read_text()
        assert (
            project.value_at(project.read_params(), "dataset.path") == "/my images" and "# mine" not in first
        )
        apply_preset("joint")
        apply_preset(name)
        assert project.read_text() == first


def test_presets_of_photos_leave_each_other_steps_and_a_file_of_weights() -> None:
    mine = {"protocol.steps": [["circle"], ["cross"]], "network.weights": "data/weights/lite0.pth"}
    apply_preset("photos")
    set_parameters(project.PARAMS, mine)
    assert "chain.yaml: 1 -> 2 steps" in apply_preset("photos_tuned")
    assert [steps(), load_settings().network.weights] == [*mine.values()]
    set_parameters(project.PARAMS, {"network.backbone": "timm:resnet18"})  # whose weights the file has not
    apply_preset("photos")
    assert [steps(), load_settings().network.weights] == [mine["protocol.steps"], "pretrained"]
    apply_preset("joint")  # of other images
    assert steps() is None


def test_what_has_changed_is_printed() -> None:
    assert apply_preset("digits").startswith("preset digits: 0 values of params.yaml changed\n")
    shutil.rmtree("data/images")
    apply_preset("paper_b0_10")
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
        "`der plan` lists what `dvc repro` runs",
        "dataset.path: there is no data/images, which DVC needs with every source; name an existing path, "
        "as data/images",
    ]
    assert apply_preset("paper_b50_10", "podnet_3").splitlines()[1] == (
        "  protocol.class_order: [television, apple, oak_tree, ... 100 in all] -> "
        "[sea, orchid, lobster, ... 100 in all]"
    )
    assert load_settings().protocol.class_order == read_order("podnet_3")


@pytest.mark.parametrize(("name", "length"), [("joint", 1), ("paper_b0_50", 50), ("imagenet100_b0_10", 4)])
def test_the_chain_is_as_long_as_the_protocol_where_that_is_known(name: str, length: int) -> None:
    apply_preset(name)
    assert project.chain_length() == length
    assert "chain.yaml" not in apply_preset(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("notebok",), "notebok: no preset of that name; did you mean notebook or notebook_plus?"),
        (("paper_b0_10", "podnet"), "podnet: no class order of that name; did you mean podnet_3"),
        (("digits", "podnet_1"), "params.yaml: protocol.class_order: 'television' is no class of the data"),
        (("wrong",), "params.yaml: memory.budgets: unknown key; did you mean budget?"),
        (("worse",), "params.yaml: memory.budget: 0 is out of range; write a number of at least 1 and at"),
    ],
)
def test_a_preset_that_cannot_be_applied_changes_nothing(words: tuple[str, ...], message: str) -> None:
    (PRESETS / "wrong.yaml").write_text("# Wrong.\nbase: digits\nmemory:\n  budgets: 3\n", encoding="utf-8")
    (PRESETS / "worse.yaml").write_text("# Worse.\nbase: digits\nmemory:\n  budget: 0\n", encoding="utf-8")
    before = project.read_text()
    with pytest.raises(UserError) as caught:
        apply_preset(*words)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert project.read_text() == before


def test_presets_are_listed() -> None:
    line = [sys.executable, "-m", "der", "preset"]
    listed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in listed.splitlines()] == [*NAMES, "--class-order,"]


# der add


@pytest.mark.usefixtures("finished")
def test_new_classes_make_a_step_on_top_of_the_finished_ones() -> None:
    bring("ant", "emu", "fox", "gnu")
    before = project.read_params()
    assert add_classes(["fox", "ant", "fox"]).splitlines() == [
        "params.yaml: step 3 is fox, ant; the finished steps stay as they were",
        "chain.yaml: 4 -> 3 steps",
        "`der plan` lists what `dvc repro` runs",
    ]
    assert steps() == [*FINISHED, ["fox", "ant"]] and project.chain_length() == 3
    # A step that was added and not trained yet stays.
    said = add_classes([]).splitlines()[0]
    assert said == "params.yaml: step 4 is emu, gnu; the finished steps stay as they were"
    assert steps() == [*FINISHED, ["fox", "ant"], ["emu", "gnu"]]
    assert [change.key for change in project.compare(before, project.read_params())] == ["protocol.steps"]
    assert re.findall("#.*", project.read_text()) == re.findall("#.*", COMMITTED)
    assert describe_move(load_settings(), steps()) is None
    with pytest.raises(UserError, match=r"^fox: in step 3 already; name classes that are new$"):
        add_classes(["fox"])


@pytest.mark.usefixtures("finished")
def test_classes_change_before_the_next_run_and_folders_first() -> None:
    shutil.rmtree(project.checkpoint(3))
    images = Path("data/images/train")
    (images / "cat").rename(images / "lynx")
    edits.rename_class("cat", "lynx")
    edits.rename_class("dog", "wolf")
    bring("ant")
    assert add_classes([]).startswith("params.yaml: step 3 is ant\n")  # no word of finished steps
    (images / "bee").rmdir()
    edits.remove_classes(["bee"])
    assert steps() == [["lynx"], ["wolf"], ["ant"]] and (images / "wolf").is_dir()


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("names", "new", "values", "message"),
    [
        ([], [], {}, r"dataset: every class is in a step already; put images of a new one there"),
        (["dog"], ["ant"], {}, r"dog: in step 2 already; name classes that are new"),
        (["elk"], ["ant"], {}, rf"{WHERE}protocol\.steps: 'elk' is no class of the data set; it has ant, .*"),
        ([], ["ant"], {"memory.budget": 3}, rf"{WHERE}memory\.budget: 3 leaves no exemplar for each of 4 .*"),
        ([], [], {"dataset.path": "i.tar.gz"}, rf"dataset: its classes cannot be listed; {NAME_THEM}"),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    names: list[str], new: list[str], values: dict[str, Any], message: str
) -> None:
    Path("i.tar.gz").write_bytes(b"\x1f\x8b")
    bring(*new)
    set_parameters(project.PARAMS, values)
    before = project.read_text()
    with pytest.raises(UserError, match=f"^{message}$"):
        add_classes(names)
    assert (project.read_text(), project.chain_length()) == (before, 4)


def test_without_a_finished_step() -> None:
    with pytest.raises(UserError, match=r"^data/checkpoints: no finished step to add to; run `dvc repro` "):
        add_classes(["ant"])


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("new", "values", "first"),
    [
        ([], {}, None),
        (["emu"], {}, None),  # after all others
        (["ant"], {}, 1),
        (["bug", "emu"], {}, 1),
        (["cow", "cub"], {}, 2),
        ([], {"protocol.class_order": ["dog", "cat", "bee"]}, None),
        (["ant"], {"protocol.steps": [["ant", "bee"], ["cat", "dog"]]}, None),
    ],
)
def test_new_classes_that_move_known_ones_are_announced(
    new: list[str], values: dict[str, Any], first: int | None
) -> None:
    bring(*new)
    set_parameters(project.PARAMS, values)
    settings = load_settings()
    sentence = describe_move(settings, planned_steps(settings) or [])
    start = (
        f"new classes ({', '.join(new)}) move known ones to other steps: step {first} and all after it train "
    )
    assert sentence is None if first is None else (sentence or "").startswith(start)


# der chain


def leave_results() -> list[Path]:
    """Outputs of a step past the protocol's last."""
    project.write_chain(STEP)
    outputs = [project.checkpoint(STEP), project.memory(STEP)]
    for output in outputs:
        with sealed_directory(output) as directory:
            (directory / "values").write_text(str(output))
    return outputs


def put(cache: Path, output: Path) -> None:
    """Have the cache hold an output, as DVC names files and directories."""
    hashes = {file.name: md5(file.read_bytes()).hexdigest() for file in output.iterdir()}
    listing = json.dumps([{"md5": hashes[name], "relpath": name} for name in sorted(hashes)])
    for name in (*hashes.values(), f"{md5(listing.encode()).hexdigest()}.dir"):
        write(cache / name[:2] / name[2:])


def test_what_the_cache_lacks_stays(place: Path) -> None:
    outputs = leave_results()
    finished = [["0", "1", "2", "3"], ["4", "5"], ["6", "7"]]
    write(project.checkpoint(1) / "network.json", json.dumps({"steps": finished}))
    for output in outputs:
        before = digests(Path())
        for shorten in (
            partial(resize_chain, None),
            partial(apply_preset, "joint"),
            partial(add_classes, ["9"]),
        ):
            with pytest.raises(
                UserError, match=rf"^{output}: past the end of a chain of \d steps, and not in "
            ):
                shorten()
        assert digests(Path()) == before
        put(place / "cache", output)
    (outputs[0] / "values").write_text("of a run without DVC")  # beside its object of an earlier one
    with pytest.raises(UserError, match=r"^data/checkpoints/5: past the end "):
        resize_chain(None)


def test_what_the_cache_has_and_markers_go(place: Path) -> None:
    kept, marker = leave_results()
    put(place / "cache", kept)
    (kept / ".DS_Store").touch()
    shutil.rmtree(marker)
    project.mark_unused("build_memory", STEP, marker)
    assert resize_chain(None) == 4 == project.chain_length()
    assert not kept.exists() and not marker.exists()


def test_lengths_of_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc, "find_cache", lambda: pytest.fail("asked for DVC"))
    assert [resize_chain(length) for length in (4, 9, None)] == [4, 9, 4]
    with pytest.raises(UserError, match=r"^protocol: 4 steps, which 3 would cut off; shorten it in params"):
        resize_chain(3)
    assert project.chain_length() == 4
