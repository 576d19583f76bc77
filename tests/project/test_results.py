"""Records of runs, and the table of published and measured results."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.common.errors import UserError
from der.common.serialization import read_json, write_json
from der.data.protocol import plan_steps
from der.project import records
from der.project.applying import apply_preset, results
from der.project.lockfile import LOCK
from der.project.params import load_settings
from der.project.paths import SUMMARY, checkpoint
from der.project.presets import list_names, load_order
from der.project.results import END, START, put_table, results_table
from der.settings.experiment import Settings
from tests.locations import ROOT

REPOSITORY = ROOT
PUBLISHED = json.loads((REPOSITORY / "results/published.json").read_text(encoding="utf-8"))
GIT = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.org"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository of what records read, as the current directory."""
    for name in ("params.yaml", "chain.yaml", "dvc.yaml"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "presets", tmp_path / "presets")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/code.py").write_text("pass\n", encoding="utf-8")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*GIT, *words], check=True)
    return tmp_path


def summary(*classes: int, average: float = 70.0, last: float = 60.0) -> dict[str, Any]:
    """As much of metrics/summary.json as a record looks at."""
    steps = {str(step): {"classes": count} for step, count in enumerate(classes, start=1)}
    return {"average_top1": average, "last_top1": last, "steps": steps}


def finish(*classes: int) -> None:
    """Leave what a run with the parameters of params.yaml leaves, as far as a record looks at it."""
    write_json(SUMMARY, summary(*classes))
    settings, last = load_settings(), len(classes)
    card = {
        "network": asdict(settings.network),
        "recipes": [asdict(settings.train.recipe(step)) for step in range(1, last + 1)],
        "steps": plan_steps(class_names(settings), settings.protocol),
    }
    write_json(checkpoint(last) / "network.json", card)


def class_names(settings: Settings) -> list[str]:
    """All classes of the data set in alphabetical order."""
    if settings.dataset.source == "digits":
        return [str(digit) for digit in range(10)]
    return sorted(load_order("podnet_1"))


def run_of(name: str, order: str, seed: int, average: float, last: float) -> dict[str, Any]:
    metrics = summary(average=average, last=last)
    return {"preset": name, "class_order": order, "seed": seed, "metrics": metrics}


def set_value(section: str, key: str, value: Any) -> None:
    content = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    old = content[section][key]
    content[section][key] = old | value if isinstance(value, dict) else value
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


# Records


def test_a_record(place: Path) -> None:
    apply_preset("notebook")
    finish(25, 50, 75, 100)
    said = records.record_run("notebook")
    assert said == "results/notebook-random-list1993-seed0.json: average top-1 70.00 %, last 60.00 %"
    written = read_json(Path("results/notebook-random-list1993-seed0.json"))
    machine = written.pop("machine")
    assert sorted(machine) == ["device", "torch"] and machine["device"].endswith(" (cpu)")
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert written == {
        "preset": "notebook",
        "seed": 0,
        "class_order": "random-list1993",
        "revision": head.stdout.strip(),  # params.yaml differs from it, but is the preset's
        "metrics": summary(25, 50, 75, 100),
    }


def test_another_seed_and_another_order_are_runs_of_the_preset(place: Path) -> None:
    apply_preset("paper_b50_2", "podnet_3")
    set_value("train", "seed", 7)
    set_value("dataset", "downloads", "/elsewhere")
    finish(50, 75, 100)
    assert records.record_run("paper_b50_2").startswith("results/paper_b50_2-podnet_3-seed7.json: ")


@pytest.mark.parametrize(
    ("order", "name"), [("alphabetical", "alphabetical"), (5, "random5"), ([5, 6], "random-list5-6")]
)
def test_names_of_other_orders(place: Path, order: Any, name: str) -> None:
    set_value("protocol", "class_order", order)
    finish(4, 6, 8, 10)
    assert records.record_run("digits").startswith(f"results/digits-{name}-seed0.json: ")


def test_code_that_is_not_committed_is_marked(place: Path) -> None:
    assert not records.git_revision().endswith("-dirty")
    Path("src/code.py").write_text("...\n", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{40}-dirty", records.git_revision())


def refuse(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        records.record_run(name)
    assert str(caught.value) == message
    assert not Path("results").exists()


def test_params_of_another_experiment(place: Path) -> None:
    finish(4, 6, 8, 10)
    set_value("memory", "budget", 100)
    refuse(
        "digits",
        "params.yaml: not preset digits, which changes memory.budget: 100 -> 200; "
        "run `der preset digits`, then `dvc repro`",
    )


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "precision", "bfloat16"),
        ("network", "depth", 20),
        ("protocol", "class_order", 1993),
        ("train", "base", {"epochs": 41}),
        ("train", "incremental", {"epochs": 41}),
    ],
)
def test_a_run_with_other_parameters(place: Path, section: str, key: str, value: Any) -> None:
    set_value(section, key, value)
    finish(4, 6, 8, 10)
    apply_preset("digits")
    message = "trained with other parameters than params.yaml has; run `dvc repro` first"
    refuse("digits", f"data/checkpoints/4/network.json: {message}")


def test_a_memory_of_other_exemplars(place: Path) -> None:
    finish(4, 6, 8, 10)
    memory = load_settings().memory
    for selection in ("random", "herding"):
        ran = {"memory": asdict(memory) | {"selection": selection}}
        stages = {"build_memory@1": {"params": {"params.yaml": ran}}, "summarize": {"cmd": "..."}}
        stages["build_memory@99"] = {"params": {"params.yaml": {"memory": {}}}}  # of a longer chain
        LOCK.write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
        if selection == "random":
            refuse(
                "digits",
                "dvc.lock: build_memory@1 ran with other parameters than params.yaml has, memory.selection: "
                "random -> herding; run `dvc repro` first, or `dvc commit -f` after `python -m stages`",
            )
    assert records.record_run("digits").startswith("results/digits-alphabetical-seed0.json: ")


def test_a_summary_of_another_or_an_unfinished_run(place: Path) -> None:
    for classes in ((4, 6), (2, 4, 6, 8, 10)):
        write_json(SUMMARY, summary(*classes))
        refuse(
            "digits",
            f"metrics/summary.json: of {list(classes)} classes over the steps, but params.yaml has "
            "[4, 6, 8, 10]; run `dvc repro` first",
        )


def test_no_summary(place: Path) -> None:
    with pytest.raises(UserError, match=r"^metrics/summary\.json: cannot be read as JSON"):
        records.record_run("digits")


def test_an_order_without_a_name(place: Path) -> None:
    set_value("protocol", "class_order", [str(digit) for digit in range(10)])
    finish(4, 6, 8, 10)
    refuse(
        "digits",
        "params.yaml: protocol.class_order is no list of presets/class_orders; add it there, under a name",
    )


def test_outside_of_git(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(place / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    with pytest.raises(UserError, match=r"^git: no revision found; run in a clone of the repository$"):
        records.git_revision()


# The table


def test_table_by_hand() -> None:
    numbers = {"average_top1": 75.357, "last_top1": 65.22}
    published = {"b": {"unpruned": numbers}, "c": {"pruned": numbers, "unpruned": numbers}}
    runs = {
        "a": [run_of("a", "podnet_1", 0, 70, 60), run_of("a", "podnet_2", 3, 71, 60.5)],
        "b": [],
        "c": [run_of("c", "random5", 1, 1, 2)],
    }
    assert results_table(["a", "b", "c"], published, runs).splitlines()[2:] == [
        "| a |  |  | 70.50 / 60.25 | 2: podnet_1 seed 0, podnet_2 seed 3 |",
        "| b | 75.36 / 65.22 |  | not run |  |",
        "| c | 75.36 / 65.22 | 75.36 / 65.22 | 1.00 / 2.00 | 1: random5 seed 1 |",
    ]


def test_runs_by_preset(place: Path) -> None:
    shutil.copytree(REPOSITORY / "results", place / "results", ignore=lambda *_: ["x"])
    for old in place.glob("results/*-seed*.json"):
        old.unlink()
    for seed in (1, 0):
        write_json(
            Path(f"results/digits-alphabetical-seed{seed}.json"), run_of("digits", "alphabetical", seed, 1, 2)
        )
    runs = results.read_runs()
    assert [one["seed"] for one in runs.pop("digits")] == [0, 1]
    assert set(runs) == set(list_names(Path("presets"))) - {"digits"} and not any(runs.values())
    write_json(Path("results/odd-x-seed0.json"), run_of("odd", "x", 0, 1, 2))
    with pytest.raises(UserError, match=r"^results/odd-x-seed0\.json: odd is no preset; rename it there"):
        results.read_runs()


def test_table_between_the_markers() -> None:
    text = f"before\n{START}\nold\n{END}\nafter\n"
    once = put_table(text, "| new |")
    assert once == f"before\n{START}\n| new |\n{END}\nafter\n"
    assert put_table(once, "| new |") == once
    for broken in (text.replace(START, ""), text.replace(END, "")):
        with pytest.raises(UserError, match=rf"^README\.md: no {START} with {END} after it; write both"):
            put_table(broken, "| new |")


def test_the_readme_shows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    table = results_table(list_names(Path("presets")), PUBLISHED["presets"], results.read_runs())
    readme = Path("README.md").read_text(encoding="utf-8")
    assert put_table(readme, table) == readme, "run `der results`"


# Published numbers

KINDS = [(name, kind) for name, kinds in PUBLISHED["presets"].items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_published_averages_are_those_of_the_curves(name: str, kind: str) -> None:
    assert name in list_names(REPOSITORY / "presets")
    numbers = PUBLISHED["presets"][name][kind]
    assert numbers["source"] in PUBLISHED["sources"]
    if curve := numbers.get("top1"):
        assert sum(curve) / len(curve) == pytest.approx(numbers["average_top1"], abs=0.01)
        assert curve[-1] == numbers["last_top1"]


def test_published_numbers_of_the_paper() -> None:
    """As in its tables, without and with pruning, typed anew."""
    expected = {
        "paper_b0_5": (76.80, 68.72, 75.55, 67.27),
        "paper_b0_10": (75.36, 65.22, 74.64, 64.36),
        "paper_b0_20": (74.09, 62.49, 73.98, 62.56),
        "paper_b0_50": (72.41, 59.08, 72.05, 59.77),
        "paper_b50_2": (74.61, 68.44, 74.57, 68.50),
        "paper_b50_5": (73.21, 66.26, 72.60, 66.03),
        "paper_b50_10": (72.81, 65.64, 72.45, 65.58),
        "imagenet100_b0_10": (77.18, 66.70, 76.12, 66.06),
    }
    for name, numbers in expected.items():
        kinds = [PUBLISHED["presets"][name][kind] for kind in ("unpruned", "pruned")]
        assert tuple(one[key] for one in kinds for key in ("average_top1", "last_top1")) == numbers
    steps = {name: len(PUBLISHED["presets"][name]["pruned"]["top1"]) for name in list(expected)[:-1]}
    assert list(steps.values()) == [5, 10, 20, 50, 3, 6, 11]
