"""`der check`: one sentence about params.yaml and chain.yaml; the schema agrees with the settings."""

import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from der.cli.main import main
from der.core.errors import UserError
from der.core.files import read_json
from der.estimator.choices import CHOICES, backbone_side
from der.pipeline import edits
from der.pipeline.dvc import LOCK, RUNNING, read_records
from der.pipeline.edits import check_weights, complete_params
from der.pipeline.plan import read_workspace
from der.pipeline.presets import load_settings
from der.pipeline.project import PARAMS, read_params, write_chain
from der.pipeline.provenance import nearest_preset, shown_parameters
from der.settings.experiment import Settings, preset
from der.settings.parsing import parse, parse_yaml
from tests.builders import network_settings
from tests.locations import ROOT
from tests.model.tiny_timm import BACKBONE, NAME, write_weights
from tests.runs.lab import set_parameters
from tools.settings import DESCRIPTIONS, SCHEMA, make_schema

pytestmark = pytest.mark.usefixtures("clone")


def refusal() -> str:
    """What `der check` says; one line."""
    with pytest.raises(SystemExit) as ended:
        main(["check"])
    message = str(ended.value.code)
    assert "\n" not in message
    return message


def test_a_file_from_before_a_setting_s_time_is_good() -> None:
    for name in ("policy", "cutout", "cutmix"):
        PARAMS.write_text(re.sub(rf"^ +{name}: .*\n", "", PARAMS.read_text(), flags=re.MULTILINE))
    main(["check"])
    assert "policy" not in PARAMS.read_text()
    assert nearest_preset(shown_parameters(load_settings())) == ("digits", [])


def test_what_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    assert capsys.readouterr().out == "params.yaml and chain.yaml are good\n"
    set_parameters(PARAMS, {"train.incremental.epochs": 32})  # after milestone 20, before 32
    main(["check"])
    assert "train.incremental.milestones: [32] are not reached in 32 epochs\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("^memory:$", "memory: [", r"not valid YAML \(line \d+: .+\)"),
        (r"\A(.|\n)*", "", r"holds no keys and values; .+"),
        ("^  path: .*\n", "", r"dataset\.path: missing; .+"),
        ("path: data/images", "path: 2024", r"dataset\.path: 2024 does not fit; .+"),
        (r"^dataset:", "steps: 3\ndataset:", r"steps: unknown key; .+"),
        ("budget: 200", "budget: .nan", r"memory\.budget: nan does not fit; write a whole number"),
        (
            "source: digits((.|\n)*?)steps: null",
            r"source: cifar10\1steps: [[dgo]]",
            r"protocol\.steps: 'dgo' is no class of the data set; it has airplane, .+",
        ),
    ],
)
def test_bad_parameters(pattern: str, replacement: str, message: str) -> None:
    text, count = re.subn(pattern, replacement, PARAMS.read_text(), count=1, flags=re.MULTILINE)
    assert count
    PARAMS.write_text(text)
    assert re.fullmatch(rf"error: params\.yaml: {message}", refusal())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"network.backbone": "timm:resnet18", "network.weights": "pretrained"},
            "params.yaml: network.weights: those of timm:resnet18 are for images of 3 ",
        ),
        ({"dataset.path": ""}, "dataset.path: there is no path without a name, "),
        ({"dataset.path": "my.zip"}, "dataset.path: there is no my.zip, which DVC needs with every "),
        *(
            ({"dataset.path": path}, f"dataset.path: {path} holds what stages write, ")
            for path in (".", "data", "data/raw", "data/checkpoints/1", "metrics/../data/tasks/1")
        ),
    ],
    ids=str,
)
def test_values_that_cannot_be(values: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "check_choices", lambda _: None)  # it imports timm, which takes seconds
    for path in ("data/raw", "data/checkpoints/1", "data/tasks/1", "metrics"):
        Path(path).mkdir(parents=True)
    set_parameters(PARAMS, values)
    assert refusal().startswith(f"error: {message}")


@pytest.mark.slow  # timm takes seconds
@pytest.mark.parametrize(
    ("side", "backbone", "expected"),
    [
        (None, "timm:test_efficientnet", 160),
        (64, "timm:test_efficientnet", None),
        (8, "cifar_resnet", None),
        (None, "cifar_resnet", "null, but cifar_resnet has no side of its own; write the pixels"),
        (64, "timm:test_vit", "timm:test_vit takes images of 160 pixels alone; write null"),
    ],
)
def test_the_side_of_images_is_the_backbone_s_if_none_is_set(side: Any, backbone: str, expected: Any) -> None:
    digits = preset("digits")
    settings = replace(
        digits,
        dataset=replace(digits.dataset, image_side=side),
        network=replace(digits.network, backbone=backbone, depth=32),
    )
    if isinstance(expected, str):
        with pytest.raises(UserError, match=f"^dataset.image_side: {expected}$"):
            backbone_side(settings)
    else:
        assert backbone_side(settings) == expected


@pytest.mark.parametrize(("name", "text"), [("DER_PROCESSES", "two"), ("DER_DEVICE", "gpu7")])
def test_what_no_stage_can_work_with(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    assert refusal().startswith(f"error: {name}: '{text}' is no ")


def bring(folder: str, *names: str) -> None:
    for name in names:
        for index in "01":
            Path(folder, name).mkdir(parents=True, exist_ok=True)
            Path(folder, name, f"{index}.png").touch()


@pytest.mark.parametrize("name", ["ant/more", "ant\nbee"])
def test_a_folder_in_a_class_and_a_name_that_no_file_can_have(name: str) -> None:
    set_parameters(PARAMS, {"dataset.source": "folder", "dataset.path": "images"})
    bring("images/train", "ant", "bee")
    Path("images/train", name).mkdir()
    assert "images/train/ant" in refusal()


def test_a_class_that_moves_known_ones_is_added_not_made_room_for(capsys: pytest.CaptureFixture[str]) -> None:
    protocol = {"protocol.first_classes": 2, "protocol.later_classes": 1}
    set_parameters(PARAMS, {"dataset.source": "folder"} | protocol)
    bring("data/images/train", "ant", "bee", "cat")
    Path("data/raw/train").mkdir(parents=True)
    for name in ("bee", "cat"):
        Path("data/raw/train", f"{name}.npy").touch()
    Path("data/checkpoints/1").mkdir(parents=True)
    Path("data/checkpoints/1/network.json").write_text('{"steps": [["bee", "cat"]]}')
    write_chain(1)
    assert refusal() == "error: protocol: 2 steps, but chain.yaml holds 1; run `der add`"
    assert "move known ones" in capsys.readouterr().out


def test_user_defined_code_that_dvc_would_not_see(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "stages", clone / "stages")
    shutil.copytree(ROOT / "src", clone / "src", dirs_exist_ok=True)
    (clone / "beside_src.py").write_text("def pick(): ...\n")
    monkeypatch.syspath_prepend(clone)
    set_parameters(PARAMS, {"memory.selection": "beside_src:pick"})
    assert refusal().startswith(f"error: {clone}/beside_src.py: DVC would not see an edit of this code; move")


@pytest.fixture
def weights(clone: Path) -> Path:
    (clone / "data/weights").mkdir()
    return write_weights(clone / "data/weights")


def check_file(path: object) -> None:
    check_weights(network_settings(backbone=BACKBONE, weights=None if path is None else str(path)))


def test_no_weights_downloaded_ones_and_files_that_dvc_looks_at(
    weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = weights.with_name("link.pth")
    link.symlink_to(write_weights(tmp_path_factory.mktemp("elsewhere")))
    for path in (None, "pretrained", f"data/weights/{NAME}.pth", "data/weights/link.pth", weights):
        check_file(path)
    for name in ("data/weights/none.pth", "data/weights", "a\nb"):
        with pytest.raises(
            UserError, match=r"^params\.yaml: network\.weights: there is no file (.|\n)*, or null$"
        ):
            check_file(name)


def test_weights_elsewhere_until_the_stage_depends_on_them(
    clone: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_weights(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(UserError) as caught:
        check_file(path)
    assert str(caught.value) == (
        f"params.yaml: network.weights: DVC would not see an edit of {path}; put it, or a link to it, into "
        f"data/weights, or add it to the deps of stage initialize in dvc.yaml: - {path}"
    )
    graph = clone / "dvc.yaml"
    text = graph.read_text(encoding="utf-8")
    graph.write_text(text.replace("      - data/weights\n", f"      - data/weights\n      - {path}\n"))
    check_file(path)


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
ENDS = (
    "schema",
    ": '2",
    "stages:",
    "check",
    "check:\n",
    "params",
    "params.yaml\n",
    "hash",
    "hash: md5\n",
    "    outs",
)
CUT = [
    *((LOCK, WHOLE[: WHOLE.index(end)]) for end in ENDS),
    *((LOCK, end) for end in (WHOLE[:-2], WHOLE[:-1], WHOLE[: WHOLE.rindex("md5: ")])),
    *((RUNNING, HELD[:length]) for length in (0, 1, 9, 40, len(HELD) - 1)),
]


@pytest.mark.parametrize(("path", "content"), CUT)
def test_a_file_of_dvc_cut_short(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    message = f"{path}: half-written, by a DVC that was killed; remove it and run `dvc repro`, which takes "
    assert refusal() == f"error: {message}what is finished from its cache"
    for read in (read_records, read_workspace) if path == LOCK else ():
        with pytest.raises(UserError, match=f"^{message}"):
            read()


def test_files_of_dvc_that_are_whole() -> None:
    RUNNING.parent.mkdir(parents=True)
    for path, content in ((LOCK, WHOLE), (RUNNING, HELD), (RUNNING, "{}")):
        path.write_text(content)
        main(["check"])


def test_stage_check_adds_what_an_older_file_lacks_and_keeps_the_rest() -> None:
    whole = PARAMS.read_text()
    assert complete_params() == [] and PARAMS.read_text() == whole
    values, later = read_params(), r"^ *(tuned|averaging|distillation|features|logits): .*\n"
    older = re.sub(later, "", whole, flags=re.MULTILINE)
    PARAMS.write_text(older)
    settings = load_settings()
    assert complete_params() == ["network.tuned", "train.incremental.distillation", "train.averaging"]
    assert (read_params(), load_settings()) == (values, settings)
    assert set(older.splitlines()) < set(PARAMS.read_text().splitlines())


# params.schema.json


def faults(content: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(read_json(ROOT / SCHEMA)).iter_errors(content)]


def test_the_schema_is_current() -> None:
    assert read_json(ROOT / SCHEMA) == make_schema(), "write it again with `python -m tools.settings`"
    Draft202012Validator.check_schema(make_schema())


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("dataset.image_side", [8, None], [7, "8"]),
        ("memory.selection", ["random", "my.module:f"], [None]),
        ("protocol.class_order", [2**32 - 1, "alphabetical", [0], ["a"]], [-1, True, "random", [], [1, "a"]]),
        ("train.augmentation.resized_crop", [None, [0.08, 1.0]], [0.5, [0.5], [0.5, 1.1], [0.1, 0.5, 1.0]]),
        ("train.augmentation.policy", [None, "autoaugment"], ["AutoAugment", True]),
        ("train.base.milestones", [[], [3, 5]], [None, 3, [-1], [3, 3], ["a"]]),
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(key: str, good: list[Any], bad: list[Any]) -> None:
    for value, is_good in [*((one, True) for one in good), *((one, False) for one in bad)]:
        content = read_params()
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
    assert all(one["required"] == [*one["properties"]] for one in make_schema()["$defs"].values())
    assert [key for key, entry in found.items() if not entry.get("description")] == []
    known = {name for kind in make_schema()["$defs"].values() for name in kind["properties"]}
    described = parse_yaml(DESCRIPTIONS.read_text(encoding="utf-8"), DESCRIPTIONS)
    assert {name for texts in described.values() for name in texts} <= known, "of a setting that is gone"
    for key, choice in CHOICES.items():
        names, *families, own = found[key]["anyOf"]
        assert names == {"enum": [one for one in choice.registry if not one.endswith(":")]}
        assert families == [{"pattern": rf"^{one}[\w.-]+$"} for one in choice.registry if one.endswith(":")]
        assert re.match(own["pattern"], "package.module:function") and not re.match(own["pattern"], "digit")
