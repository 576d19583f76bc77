"""dvc.yaml says what the code does: modules imported, parameters read, steps numbered."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.common.atomic import PARTIAL
from tests.pipeline.closure import compare, import_closure
from tests.pipeline.lab import CHAIN, REPOSITORY, Pipeline, Stage, declares, numbered, read_graph

Graph = dict[str, Stage]

WITHOUT_DVC = {
    f"stages/{name}.py" for name in ("all", "chain", "compare", "preset", "record", "results", "show")
}  # scripts that are no stages

# Section of params.yaml -> the stages that track it, of a chain of three.
TRACKED_BY = {
    "dataset": ["download", "report"],
    "protocol": ["split", "report"],
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
    assert sorted(graph) == sorted(["download", "split", "initialize", *foreach, "summarize", "report"])


def test_committed_chain_has_eleven_steps() -> None:
    steps = yaml.safe_load((REPOSITORY / "chain.yaml").read_text(encoding="utf-8"))["steps"]
    # Text: DVC reads unquoted numbers as no stages at all.
    assert list(steps) == [str(number) for number in range(1, 12)]
    for number, item in enumerate(steps.values(), start=1):
        assert item == {"previous": number - 1, "phase": "base" if number == 1 else "incremental"}


def test_written_chain_is_the_committed_one(base: Pipeline, tmp_path: Path) -> None:
    copy = base.copy_to(tmp_path / "pipeline")
    copy.chain(11)
    assert (copy.root / "chain.yaml").read_bytes() == (REPOSITORY / "chain.yaml").read_bytes()
    graph = read_graph(copy)
    assert len(graph) == 3 * 11 + 5
    assert graph["train_task@11"].outs[0] == "data/checkpoints/11"


def test_declared_modules_are_those_imported(graph: Graph) -> None:
    """If this fails, its message says which lines of dvc.yaml to change."""
    faults: dict[str, list[str]] = {}
    for name, stage in graph.items():
        code = [dep for dep in stage.deps if declares(["src", "stages"], dep)]
        lines = compare(REPOSITORY, import_closure(REPOSITORY, stage.script), code)
        if lines:
            faults[name.partition("@")[0]] = lines
    assert not faults, "dvc.yaml, deps:\n" + "\n".join(
        f"  {name}:\n" + "\n".join(f"    {line}" for line in lines) for name, lines in faults.items()
    )


def test_every_script_is_a_stage_or_known_as_none(graph: Graph) -> None:
    scripts = {
        file.relative_to(REPOSITORY).as_posix()
        for file in (REPOSITORY / "stages").glob("*.py")
        if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
    }
    assert scripts == {stage.script for stage in graph.values()} | WITHOUT_DVC


def test_compare_names_lines_to_add_and_to_remove(tmp_path: Path) -> None:
    for path in ("used.py", "unused.py", "whole/one.py", "whole/two.py", "half/one.py", "half/two.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("pass\n", encoding="utf-8")
    (tmp_path / "whole/__init__.py").touch()
    imported = {"used.py", "whole/one.py", "whole/two.py", "half/one.py"}
    assert compare(tmp_path, imported, ["used.py", "whole", "half/one.py"]) == []
    assert compare(tmp_path, imported, ["unused.py", "whole", "half", "gone.py"]) == [
        "remove - unused.py",
        "remove - half   (not imported: half/two.py)",
        "remove - gone.py",
        "add    - half/one.py",
        "add    - used.py",
    ]


def test_import_closure_of_every_kind_of_import(tmp_path: Path) -> None:
    contents = {
        "stages/__init__.py": "import os\n",
        "stages/run.py": "def run():\n    from der.lazy import thing\n",
        "src/der/__init__.py": "",
        "src/der/lazy.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import der.pack.typed\n",
        "src/der/pack/__init__.py": "from der import sibling\n",
        "src/der/pack/typed.py": "pass\n",
        "src/der/sibling.py": "pass\n",
        "src/der/other.py": "pass\n",
    }
    for path, text in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert import_closure(tmp_path, "stages/run.py") == set(contents) - {
        "src/der/__init__.py",
        "src/der/other.py",
    }


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
    compiled = ["src/der/__pycache__/a.pyc", "stages/common/__pycache__/a.pyc"]
    done = base.command("dvc", "check-ignore", *half, *images, *compiled)
    assert sorted(done.stdout.split()) == sorted([*half, *compiled])


def test_no_parameter_that_dvc_leaves_out_of_its_cache_key() -> None:
    names = {name for parameter in committed_parameters() for name in parameter.split(".")}
    assert not names & {"size", "nfiles"}, "DVC would restore results of another value; rename it"


# Only looked at, for a budget too small: whatever it is, the results are the same or there are none.
LOOKED_AT = {"stages/split.py": {"memory"}, "stages/train_task.py": {"memory"}}


def test_scripts_read_only_parameters_that_they_declare(graph: Graph) -> None:
    for name, stage in graph.items():
        read = sections_read((REPOSITORY / stage.script).read_text(encoding="utf-8"))
        declared = {parameter.partition(".")[0] for parameter in stage.params}
        assert read == declared | LOOKED_AT.get(stage.script, set()), name


def sections_read(script: str) -> set[str]:
    """The sections of params.yaml that a stage script uses: settings.memory, load_settings().dataset."""
    sections = {section.partition(".")[0] for section in TRACKED_BY}
    return {
        node.attr
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Attribute)
        and node.attr in sections
        and ast.unparse(node.value) in ("settings", "load_settings()")
    }
