"""dvc.yaml says what the code does: fingerprints, parameters read, steps numbered."""

import ast
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from der.core.files import PARTIAL
from tests.runs.lab import CHAIN, REPOSITORY, Pipeline, Stage, declares, numbered, read_graph

Graph = dict[str, Stage]

# Section of params.yaml -> the stages that track it, of a chain of three.
TRACKED_BY = {
    "dataset.source": ["download", "summarize", "report"],
    "dataset": ["download", "report"],
    "protocol": ["split", "summarize", "report"],
    "network.backbone": ["initialize", *numbered("T1", "T2", "T3", "report")],
    "network.weights": ["initialize", "report"],
    "network": numbered("T1", "T2", "T3", "report"),
    "train.seed": numbered("T1", "T2", "T3", "report"),
    "train.precision": numbered("T1", "T2", "T3", "report"),
    "train.augmentation": numbered("T1", "T2", "T3", "report"),
    "train.masks": numbered("T1", "T2", "T3", "report"),
    "train.base": numbered("T1", "report"),
    "train.incremental": numbered("T2", "T3", "report"),
    "memory": numbered("B1", "B2", "B3", "report"),
    "evaluate": numbered("E1", "E2", "E3", "report"),
}


@pytest.fixture(scope="module")
def graph(base: Pipeline) -> Graph:
    return read_graph(base)


def test_stages(graph: Graph) -> None:
    foreach = [numbered(f"{kind}{step}")[0] for step in range(1, CHAIN + 1) for kind in "TBE"]
    assert sorted(graph) == sorted(
        ["check", "download", "split", "initialize", *foreach, "summarize", "report"]
    )


def test_committed_chain_is_as_long_as_the_committed_protocol() -> None:
    steps = yaml.safe_load((REPOSITORY / "chain.yaml").read_text(encoding="utf-8"))["steps"]
    # Text: DVC reads unquoted numbers as no stages at all.
    assert list(steps) == ["1", "2", "3", "4"]  # of 4, 2, 2 and 2 digits
    for number, item in enumerate(steps.values(), start=1):
        assert item == {"previous": number - 1, "phase": "base" if number == 1 else "incremental"}


def test_chain_alone_writes_the_committed_one_and_a_number_a_longer_one(pipeline: Pipeline) -> None:
    for name in ("params.yaml", "chain.yaml"):
        shutil.copyfile(REPOSITORY / name, pipeline.root / name)
    assert pipeline.der("chain", "20") == "chain.yaml: 20 steps\n"
    graph = read_graph(pipeline)
    assert len(graph) == 3 * 20 + 6
    assert graph["train_task@20"].outs[0] == "data/checkpoints/20"
    assert pipeline.der("chain") == "chain.yaml: 4 steps\n"
    assert (pipeline.root / "chain.yaml").read_bytes() == (REPOSITORY / "chain.yaml").read_bytes()


def test_dvc_yaml_is_short_and_names_no_module() -> None:
    text = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    assert not re.search(r"\w\.py\b", text)


def test_every_stage_depends_on_its_fingerprint_and_on_no_code(graph: Graph) -> None:
    for name, stage in graph.items():
        if name == "check":
            assert {"params.yaml", "chain.yaml", "src", "stages"} <= set(stage.deps)
            continue
        assert [dep for dep in stage.deps if declares(["data/fingerprints"], dep)] == [
            f"data/fingerprints/{stage.name}"
        ], name
        code = [dep for dep in stage.deps if declares(["src", "stages"], dep)]
        files = [file for dep in code for file in (REPOSITORY / dep, *(REPOSITORY / dep).rglob("*"))]
        assert all(file.exists() and file.suffix != ".py" for file in files), name


def test_what_shows_published_results_depends_on_presets(graph: Graph) -> None:
    for path in ("src/der/presets", "results"):
        assert [name for name, stage in graph.items() if path in stage.deps] == ["summarize", "report"]


def test_the_page_alone_is_no_output(graph: Graph) -> None:
    assert [name for name, stage in graph.items() if not stage.outs] == ["report"]


def test_every_script_is_a_stage(graph: Graph) -> None:
    scripts = {file.stem for file in (REPOSITORY / "stages").glob("*.py")} - {"__init__", "__main__"}
    assert scripts == {stage.name for stage in graph.values()}


def test_files_of_the_page_are_inputs_of_the_report(graph: Graph) -> None:
    assert "src/der/report/page" in graph["report"].deps
    parts = {file.suffix for file in (REPOSITORY / "src/der/report").iterdir() if file.is_file()}
    assert parts == {".py"}


def leaves(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all values of params.yaml."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def committed_parameters() -> list[str]:
    return list(leaves(yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))))


def test_every_parameter_is_tracked_by_the_stages_it_reaches(graph: Graph) -> None:
    for parameter in committed_parameters():
        section = next(
            (one for one in TRACKED_BY if parameter.startswith(one + ".") or parameter == one), None
        )
        assert section, f"{parameter}: no stage is known to track it"
        tracking = [
            name
            for name, stage in graph.items()
            if any(parameter == one or parameter.startswith(one + ".") for one in stage.params)
        ]
        assert sorted(tracking) == sorted(TRACKED_BY[section]), parameter


def test_dvc_ignores_what_stages_leave_half_written_and_no_image(base: Pipeline, graph: Graph) -> None:
    half = [out + PARTIAL for stage in graph.values() for out in stage.outs]
    names = ("cat/0.png.partial", "cat.partial/0.png", "__pycache__/0.png")
    images = [f"data/images/{split}/{name}" for split in ("train", "test") for name in names]
    compiled = ["src/der/__pycache__/a.pyc", "stages/__pycache__/a.pyc", "src/der_pipeline.egg-info/PKG-INFO"]
    done = base.command("dvc", "check-ignore", *half, *images, *compiled)
    assert sorted(done.stdout.split()) == sorted([*half, *compiled])


def test_no_parameter_that_dvc_leaves_out_of_its_cache_key() -> None:
    names = {name for parameter in committed_parameters() for name in parameter.split(".")}
    assert not names & {"size", "nfiles"}, "DVC would restore results of another value; rename it"


# Only looked at, for a budget too small: whatever it is, the results are the same or there are none.
LOOKED_AT = {"split": {"memory"}}


def test_scripts_read_only_parameters_that_they_declare(graph: Graph) -> None:
    for name, stage in graph.items():
        if stage.name in ("check", "report"):  # which read all of them
            continue
        script = REPOSITORY / "stages" / f"{stage.name}.py"
        read = sections_read(script.read_text(encoding="utf-8"))
        declared = {parameter.partition(".")[0] for parameter in stage.params}
        assert read == declared | LOOKED_AT.get(stage.name, set()), name


def sections_read(script: str) -> set[str]:
    """The sections of params.yaml that a stage script reads: load_section(MemorySettings, "memory")."""
    calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[1]) for call in calls if ast.unparse(call.func) == "load_section"}
