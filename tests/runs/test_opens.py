"""Every file inside the project that a stage opens is among its declared dependencies or outputs."""

import json
import shutil
from functools import cache
from pathlib import Path

import pytest

from der.pipeline.fingerprint import Code, find_module
from tests.runs.lab import Pipeline, Stage, declares, digests, read_graph
from tests.runs.opens import Opened, loaded_modules, opens_inside

# Which values of the parameters a stage depends on is declared; the graph says only what its seconds are of.
READ_BY_ALL = ("params.yaml", "dvc.yaml")
# What stages read of DVC's, to see that its records say what they were given; no result depends on it.
NO_INPUT = {
    "download": (".dvc", ".git", ".gitignore", ".dvcignore", "chain.yaml", "dvc.lock"),
    "report": ("dvc.lock", "data/made_of"),
}
PAGE = ("report", "metrics/report.html")  # the one product that is no output
# What takes long to import, and what stages that do without torch have loaded of it, one after the other.
LOADED = {
    "check": [],
    "download": [],
    "split": [],
    "summarize": ["vl_convert"],
    "report": ["vl_convert", "jinja2"],
}
RUN = """
import json, runpy, sys
loaded = {}
for stage in ("check", "download", "split", "summarize", "report"):
    runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)
    loaded[stage] = [name for name in ("torch", "vl_convert", "jinja2") if name in sys.modules]
print(json.dumps(loaded))
"""
PARTIAL = ".partial"  # what an output is called until it is whole


def undeclared(opened: Opened, stage: Stage, root: Path) -> bool:
    """Whether a stage should not have opened a file."""
    path = opened.path
    if (root / path).is_dir():
        return False  # a folder is opened only to bring its names to the disk
    if (path.endswith(".py") or path.startswith("src/")) and not opened.written:
        return not declares([*stage.deps, *code(stage, root)], path)
    parts = path.split("/")
    whole = "/".join(part.removesuffix(PARTIAL) for part in parts)
    if (stage.name, whole) == PAGE:
        return False
    if declares(NO_INPUT.get(stage.name, ()), path):
        return False
    if opened.written or whole != path:
        return not declares(stage.outs, whole)
    return not declares([*READ_BY_ALL, *stage.deps, *stage.outs], path)


@cache
def importable(script: str, root: Path) -> list[str]:
    """The modules that a stage may import; of check, what any may."""
    scripts = [path.name for path in root.glob("data/fingerprints/*")] if script == "check" else [script]
    return [name for one in scripts for name in read_code(root).hash_stage(one)]


@cache
def read_code(root: Path) -> Code:
    return Code({}, root)


def code(stage: Stage, root: Path) -> list[str]:
    """Their files, and those beside them that are called alike, as a module's C++ or JSON is."""
    found = [find_module(name, root) for name in importable(stage.name, root)]
    files = [one for file in found if file is not None for one in file.parent.glob(f"{file.stem}.*")]
    return [file.relative_to(root).as_posix() for file in files]


def test_stages_open_only_what_they_declare(base: Pipeline) -> None:
    graph = read_graph(base)
    opens = opens_inside(base)
    assert {opened.stage for opened in opens} == set(graph)  # each was watched
    wrong = sorted(opened for opened in opens if undeclared(opened, graph[opened.stage], base.root))
    assert not wrong, "\n".join(
        f"{stage} {'writes' if written else 'reads'} {path}: declare it in dvc.yaml"
        for stage, path, written in wrong
    )
    for seen in (
        Opened("download", "data/images/train/ant/0.png", False),
        Opened("split", "chain.yaml", False),
        Opened("train_task@1", "data/tasks/1/train/ant.npy", False),  # mapped into memory
        Opened("check", "stages/train_task.py", False),
        Opened("train_task@2", "data/checkpoints/1/manifest.json", False),
        Opened("evaluate@1", "metrics/steps/1.partial/metrics.json.partial", True),
        Opened("report", "src/der/report/page/page.html", False),
    ):
        assert seen in opens


def test_every_module_that_a_stage_loads_is_in_its_fingerprint(base: Pipeline) -> None:
    graph = read_graph(base)
    loaded = loaded_modules(base)
    assert set(loaded) == set(graph)
    for name, stage in graph.items():
        if stage.name != "check":
            assert loaded[name] - set(importable(stage.name, base.root)) == set(), name
    assert "der.train.engine" in loaded["train_task@2"]


@pytest.mark.torture
def test_stages_load_what_takes_long_only_where_they_use_it(pipeline: Pipeline) -> None:
    printed = pipeline.plain().succeed("python", "-c", RUN)
    assert json.loads(printed.splitlines()[-1]) == LOADED


@pytest.mark.torture
def test_declared_dependencies_suffice(base: Pipeline, tmp_path: Path) -> None:
    """Where nothing else is, a stage that reads weights does the same: also C code opens nothing else."""
    stage = read_graph(base)["train_task@2"]
    for path in (*stage.deps, *code(stage, base.root), *READ_BY_ALL):
        source, target = base.root / path, tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    before = digests(tmp_path)
    Pipeline(tmp_path).succeed(*stage.cmd.split())  # in a usual process
    after = digests(tmp_path)
    assert {path: after[path] for path in before} == before
    made = {path: digest for path, digest in after.items() if path not in before}
    assert made == {path: one for path, one in digests(base.root).items() if declares(stage.outs, path)}
