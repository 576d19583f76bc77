"""dvc.yaml says what the code does: fingerprints, parameters read, steps numbered."""

import ast
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from der.core.files import PARTIAL
from tests.runs.lab import REPOSITORY, Pipeline, Stage, declares, numbered, read_graph

Graph = dict[str, Stage]

TRAINING = numbered("T1", "T2", "report")
DISTILLING = numbered("C1", "C2")
# Section of params.yaml -> the stages that track it, of a chain of two.
TRACKED_BY = {
    "dataset.source": ["download", "summarize", "report"],
    "dataset": ["download", "report"],
    "protocol": ["split", "summarize", "report"],
    "network.backbone": ["initialize", "features", *TRAINING],
    "network.weights": ["initialize", "report"],
    **{f"network.{key}": ["features", *TRAINING] for key in ("depth", "stem", "tuned", "mean", "std")},
    "network": TRAINING,
    "train.augmentation.horizontal_flip": ["features", *TRAINING, *DISTILLING],
    **{f"train.{key}": [*TRAINING, *DISTILLING] for key in ("seed", "precision", "augmentation")},
    "train.base": numbered("T1", "report"),
    "train.incremental": numbered("T2", "report"),
    "train": TRAINING,
    "memory": numbered("B1", "B2", "report"),
    "evaluate": numbered("E1", "E2", "report"),
}
# Only looked at, for a budget too small: whatever it is, the results are the same or there are none.
LOOKED_AT = {"split": {"memory"}}


@pytest.fixture(scope="module")
def graph(base: Pipeline) -> Graph:
    return read_graph(base)


def test_stages(graph: Graph) -> None:
    once = ["check", "download", "split", "initialize", "features", "summarize", "report"]
    assert sorted(graph) == sorted([*once, *numbered("T1", "B1", "E1", "T2", "B2", "E2"), *DISTILLING])
    scripts = {file.stem for file in (REPOSITORY / "stages").glob("*.py")} - {"__init__", "__main__"}
    assert scripts == {stage.name for stage in graph.values()}
    # The page alone is no output.
    assert [name for name, stage in graph.items() if not stage.outs] == ["report"]
    # What shows published results.
    for path in ("src/der/presets", "results"):
        assert [name for name, stage in graph.items() if path in stage.deps] == ["summarize", "report"]
    assert "src/der/report/page" in graph["report"].deps


def test_chain_alone_writes_the_committed_one_and_a_number_a_longer_one(pipeline: Pipeline) -> None:
    for name in ("params.yaml", "chain.yaml"):
        shutil.copyfile(REPOSITORY / name, pipeline.root / name)
    assert pipeline.der("chain", "20") == "chain.yaml: 20 steps\n"
    graph = read_graph(pipeline)
    assert len(graph) == 4 * 20 + 7
    assert graph["train_task@20"].outs[0] == "data/checkpoints/20"
    assert pipeline.der("chain") == "chain.yaml: 4 steps\n"  # of 4, 2, 2 and 2 digits
    assert (pipeline.root / "chain.yaml").read_bytes() == (REPOSITORY / "chain.yaml").read_bytes()


def test_every_stage_depends_on_its_fingerprint_and_on_no_code(graph: Graph) -> None:
    assert {"params.yaml", "chain.yaml", "src", "stages"} <= set(graph["check"].deps)
    for name in graph.keys() - {"check"}:
        stage = graph[name]
        assert [dep for dep in stage.deps if declares(["data/fingerprints"], dep)] == [
            f"data/fingerprints/{stage.name}"
        ], name
        code = [dep for dep in stage.deps if declares(["src", "stages"], dep)]
        files = [file for dep in code for file in (REPOSITORY / dep, *(REPOSITORY / dep).rglob("*"))]
        assert all(file.exists() and file.suffix != ".py" for file in files), name


def leaves(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all values of params.yaml."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_every_parameter_is_tracked_by_the_stages_it_reaches(graph: Graph) -> None:
    for parameter in leaves(yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))):
        # DVC leaves these names out of its cache's key, and would restore results of another value.
        assert not {"size", "nfiles"} & set(parameter.split("."))
        inside = (one for one in TRACKED_BY if f"{parameter}.".startswith(f"{one}."))
        section = next(inside, None)
        if parameter.startswith("compress."):  # by a file, which has a value for each key that is absent
            continue
        assert section, f"{parameter}: no stage is known to track it"
        tracking = [
            name
            for name, stage in graph.items()
            if any(f"{parameter}.".startswith(f"{one}.") for one in stage.params)
        ]
        assert sorted(tracking) == sorted(TRACKED_BY[section]), parameter


def test_dvc_ignores_what_stages_leave_half_written_and_no_image(base: Pipeline, graph: Graph) -> None:
    half = [out + PARTIAL for stage in graph.values() for out in stage.outs]
    names = ("cat/0.png.partial", "cat.partial/0.png", "__pycache__/0.png")
    images = [f"data/images/{split}/{name}" for split in ("train", "test") for name in names]
    compiled = ["src/der/__pycache__/a.pyc", "stages/__pycache__/a.pyc", "src/der_pipeline.egg-info/PKG-INFO"]
    done = base.command("dvc", "check-ignore", *half, *images, *compiled)
    assert sorted(done.stdout.split()) == sorted([*half, *compiled])


def test_scripts_read_only_parameters_that_they_declare(graph: Graph) -> None:
    for name, stage in graph.items():
        if stage.name in ("check", "report"):  # which read all of them
            continue
        script = (REPOSITORY / f"stages/{stage.name}.py").read_text(encoding="utf-8")
        calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
        read = {  # given.section(MemorySettings, "memory")
            ast.literal_eval(call.args[1]) for call in calls if ast.unparse(call.func).endswith(".section")
        }
        declared = {parameter.partition(".")[0] for parameter in stage.params}
        assert read == declared | LOOKED_AT.get(stage.name, set()), name
