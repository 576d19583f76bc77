"""`der check`: one sentence about params.yaml and chain.yaml, above all where DVC has none."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from der.cli.main import main
from der.core.errors import UserError
from der.pipeline import checking
from der.pipeline.lockfile import LOCK, RUNNING, read_lock, read_outputs
from der.pipeline.paths import CHAIN, PARAMS
from der.pipeline.plan import read_workspace
from der.pipeline.steps import write_chain
from tests.locations import ROOT
from tests.pipeline.clones import make_clone
from tests.runs.lab import set_parameters

Edit = Callable[[str], str]
BOMB = "a0: &a0 [x, x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


def put(pattern: str, replacement: str) -> Edit:
    def edit(text: str) -> str:
        changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        assert count
        return changed

    return edit


def add(text: str) -> Edit:
    return lambda before: before + text


BAD_PARAMS: dict[str, tuple[Edit, str]] = {
    "broken": (put("^memory:$", "memory: ["), r"not valid YAML \(line \d+: .+\)"),
    "a tag": (put("budget: 200", "budget: !!python/name:os.system 8"), r"not valid YAML \(.+ is a tag; .+\)"),
    "empty": (lambda text: "", r"the file: is empty; write keys and values|holds no keys and values; .+"),
    "a list": (lambda text: "- a\n", r"holds no keys and values; .+"),
    "no path": (put("^  path: .*\n", ""), r"dataset\.path: missing; .+"),
    "a number as path": (put("path: data/images", "path: 2024"), r"dataset\.path: 2024 does not fit; .+"),
    "null as path": (put("path: data/images", "path: null"), r"dataset\.path: is empty; write text .+"),
    "a list as path": (put("path: data/images", "path: [a]"), r"dataset\.path: \['a'\] does not fit; .+"),
    "a section steps": (add("steps: 3\n"), r"steps: unknown key; .+"),
    "an alias bomb": (add(BOMB), r"not valid YAML \(line \d+: 'a0' is an anchor or alias; write .+\)"),
    "nested": (add(f"deep: {'[' * 3000}{']' * 3000}\n"), r"not valid YAML \(.+ nested more than 50 .+\)"),
    "a merge": (add("<<: {a: 1}\n"), r"not valid YAML \(.+ << merges keys; write them out\)"),
    "not a number": (put("budget: 200", "budget: .nan"), r"memory\.budget: nan does not fit; .+"),
    "true as a weight": (
        put("auxiliary_weight: 1.0", "auxiliary_weight: true"),
        r"train\.incremental\.auxiliary_weight: True does not fit; write a number",
    ),
}
BAD_PARAMS |= {
    "without what has a default": (
        put("^  tuned: .*\n", ""), r"network\.tuned: missing; add it with all or last or none",
    ),
    "a class that CIFAR-10 has not": (
        lambda text: put("steps: null", "steps: [[dgo]]")(put("source: \\w+", "source: cifar10")(text)),
        r"protocol\.steps: 'dgo' is no class of the data set; it has airplane, .+",
    ),
}  # fmt: skip
BAD_CHAINS: dict[str, Edit] = {
    "broken": lambda text: "steps: [\n",
    "empty": lambda text: "",
    "a number": lambda text: "steps: 3\n",
    "without quotes": lambda text: text.replace('"', ""),
    "with a gap": lambda text: text.replace('"2"', '"7"'),
    "without fields": lambda text: text.replace(", phase: incremental", ""),
    "another order": lambda text: text.replace("previous: 1", "previous: 0"),
    "true for 1": lambda text: text.replace("previous: 1", "previous: true"),
    "a fraction": lambda text: text.replace("previous: 1", "previous: 1.0"),
    "a section of params.yaml": lambda text: f"{text}dataset: {{path: elsewhere}}\n",
    "deep": lambda text: f"steps: {'[' * 3000}\n",
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_clone(tmp_path, monkeypatch)


def refusal() -> str:
    """What `der check` says; one line."""
    with pytest.raises(SystemExit) as ended:
        main(["check"])
    message = str(ended.value.code)
    assert "\n" not in message
    return message


def test_what_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    assert capsys.readouterr().out == "params.yaml and chain.yaml are good\n"


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_bad_parameters(name: str) -> None:
    edit, message = BAD_PARAMS[name]
    PARAMS.write_text(edit(PARAMS.read_text(encoding="utf-8")), encoding="utf-8")
    assert re.fullmatch(rf"error: params\.yaml: ({message})", refusal())


def test_grey_images_for_pretrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "check_choices", lambda _: None)  # it imports timm, which takes seconds
    set_parameters(PARAMS, {"network.backbone": "timm:resnet18", "network.weights": "pretrained"})
    assert re.fullmatch(
        r"error: params\.yaml: network\.weights: those of timm:resnet18 are for images of 3 .+", refusal()
    )


@pytest.mark.parametrize("name", BAD_CHAINS)
def test_bad_chains(name: str) -> None:
    CHAIN.write_text(BAD_CHAINS[name](CHAIN.read_text(encoding="utf-8")), encoding="utf-8")
    assert refusal() == "error: chain.yaml: missing or damaged; run `der chain`"


@pytest.mark.parametrize("path", [PARAMS, CHAIN], ids=str)
def test_files_that_are_not_there_or_not_utf8(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"# \xff\n")
    assert refusal().startswith(f"error: {path}: ")
    path.unlink()
    assert refusal().startswith(f"error: {path}: ")


@pytest.mark.parametrize(("name", "text"), [("DER_PROCESSES", "two"), ("DER_DEVICE", "gpu7")])
def test_what_no_stage_can_work_with(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    assert refusal().startswith(f"error: {name}: '{text}' is no ")


@pytest.mark.parametrize("downloads", ["params.yaml/x", "~nobody-of-that-name/x"])
def test_a_place_where_nothing_can_be_downloaded(downloads: str) -> None:
    set_parameters(PARAMS, {"dataset.source": "cifar10", "dataset.downloads": downloads})
    assert refusal().startswith("error: dataset.downloads: ")


def test_a_folder_in_a_class_and_a_name_that_no_file_can_have() -> None:
    set_parameters(PARAMS, {"dataset.source": "folder", "dataset.path": "images"})
    for name in ("ant/more", "ant\nbee"):
        for folder in ("ant", "bee", name):
            Path("images/train", folder).mkdir(parents=True, exist_ok=True)
        for folder in ("ant", "bee"):
            for index in "01":
                Path("images/train", folder, f"{index}.png").touch()
        assert "images/train/ant" in refusal()
        Path("images/train", name).rmdir()


@pytest.mark.parametrize("path", [".", "data", "data/raw", "data/checkpoints/1", "metrics/../data/tasks/1"])
def test_a_path_of_what_stages_write(path: str) -> None:
    Path(path).mkdir(parents=True, exist_ok=True)
    set_parameters(PARAMS, {"dataset.path": path})
    assert refusal().startswith(f"error: dataset.path: {path} holds what stages write, ")


def test_a_path_without_a_name() -> None:
    set_parameters(PARAMS, {"dataset.path": ""})
    assert refusal().startswith("error: dataset.path: there is no path without a name, ")


def test_a_class_that_moves_known_ones_is_added_not_just_made_room_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    protocol = {"protocol.first_classes": 2, "protocol.later_classes": 1}
    set_parameters(PARAMS, {"dataset.source": "folder"} | protocol)
    for name in ("ant", "bee", "cat"):
        for index in "01":
            Path("data/images/train", name).mkdir(parents=True, exist_ok=True)
            Path("data/images/train", name, f"{index}.png").touch()
    for name in ("bee", "cat"):
        Path("data/raw/train").mkdir(parents=True, exist_ok=True)
        Path("data/raw/train", f"{name}.npy").touch()
    Path("data/checkpoints/1").mkdir(parents=True)
    Path("data/checkpoints/1/network.json").write_text('{"steps": [["bee", "cat"]]}', encoding="utf-8")
    write_chain(1)
    assert refusal() == "error: protocol: 2 steps, but chain.yaml holds 1; run `der add`"
    assert "known classes move" in capsys.readouterr().out


def test_a_path_that_names_nothing() -> None:
    PARAMS.write_text(
        put("path: data/images", "path: my.zip")(PARAMS.read_text(encoding="utf-8")), encoding="utf-8"
    )
    assert refusal().startswith("error: dataset.path: there is no my.zip, and DVC looks for it whatever the")


def test_code_of_ones_own_that_dvc_would_not_see(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "stages", place / "stages")
    shutil.copytree(ROOT / "src", place / "src", dirs_exist_ok=True)
    (place / "beside_src.py").write_text("def pick(): ...\n")
    monkeypatch.syspath_prepend(place)
    set_parameters(PARAMS, {"memory.selection": "beside_src:pick"})
    assert refusal().startswith(f"error: {place}/beside_src.py: DVC would not see an edit of this code; move")


WHOLE = """schema: '2.0'
stages:
  check:
    cmd: python -m stages.check
    deps:
    - path: params.yaml
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 4157
    outs:
    - path: data/fingerprints
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 5
      nfiles: 8
"""
HELD = '{"write": {}, "read": {"data/raw": [{"pid": 7, "cmd": "dvc repro"}]}}'
# DVC takes a lock that ends in the middle of a stage for whole, and fails without a word later.
CUT = [
    (LOCK, WHOLE[: WHOLE.index(end) + beyond])
    for end, beyond in (("schema", 0), (":", 3), ("stages", 7), ("check", 8), ("params", 3), ("params", 12))
]
CUT += [(LOCK, WHOLE[: WHOLE.index("hash") + beyond]) for beyond in (0, 7, 10)]
CUT += [
    (LOCK, WHOLE[: WHOLE.index("    outs")]),
    (LOCK, WHOLE[:-2]),
    (LOCK, WHOLE[:-1]),
    (LOCK, WHOLE[: WHOLE.rindex("md5: ")]),
]
CUT += [(RUNNING, HELD[:length]) for length in (0, 1, 9, 40, len(HELD) - 1)]


@pytest.mark.parametrize(("path", "content"), CUT)
def test_a_file_of_dvc_cut_short(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    assert refusal() == (
        f"error: {path}: half-written, by a DVC that was killed; remove it and run `dvc repro`, which takes "
        "what is finished from its cache"
    )


@pytest.mark.parametrize("content", [content for path, content in CUT if path == LOCK])
def test_whatever_reads_a_lock_cut_short_says_so(content: str) -> None:
    LOCK.write_text(content)
    for read in (read_lock, read_outputs, read_workspace):
        with pytest.raises(
            UserError, match=r"^dvc\.lock: half-written, by a DVC that was killed; remove it "
        ):
            read()


def test_files_of_dvc_that_are_whole() -> None:
    RUNNING.parent.mkdir(parents=True)
    for path, content in ((LOCK, WHOLE), (RUNNING, HELD), (RUNNING, "{}")):
        path.write_text(content)
        main(["check"])
