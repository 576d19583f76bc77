"""Every list of dependencies is what the code that it is for imports, and the library needs no other."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement

from der.cli.extra import PIPELINE
from der.pipeline.fingerprint import hash_modules
from stages.check import list_fingerprinted
from tests.locations import ROOT

LIBRARY = {
    "core",
    "settings",
    "data",
    "model",
    "train",
    "memory",
    "evaluation",
    "inference",
    "estimator",
    "cli",
}
BROUGHT_BY = {
    **{"PIL": "pillow", "hydra": "hydra-core", "ruamel": "ruamel.yaml"},
    **{"sklearn": "scikit-learn", "yaml": "pyyaml", "vl_convert": "vl-convert-python"},
}
FOR_DVC = {"ruamel.yaml.clib"}  # which DVC's parser imports where it is there
# What rooms of the library import inside functions, for that use alone.
FOR_ONE_USE = {
    "pyarrow": {"der.data.sources.arrow_files"},  # of extra parquet: its source is imported when it is named
    "torchvision": {"der.data.sources.cifar"},  # of extra pipeline: downloads
    "onnxruntime": {"der.inference.export"},  # of extra onnx
    "timm": {"der.model.timm_extractor", "der.model.timm_models"},  # of extra photos: backbones of its family
    "onnxscript": {"der.inference.export"},
    "triton": {"der.model.kernels.convolution", "der.model.kernels.normalization"},  # torch's, for CUDA
}


@cache
def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def names(requirements: list[str]) -> set[str]:
    return {Requirement(line).name for line in requirements}


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Distribution -> the modules of ours that import it."""
    graph = grimp.build_graph("der", "stages", include_external_packages=True, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            top = other.partition(".")[0]
            if top not in {"der", "stages", *sys.stdlib_module_names}:
                found.setdefault(BROUGHT_BY.get(top, top), set()).add(module)
    return found


def in_library(module: str) -> bool:
    package, *rooms = module.split(".")
    return package == "der" and rooms[:1] != [] and rooms[0] in LIBRARY


def test_the_library_s_dependencies(imported: dict[str, set[str]]) -> None:
    needed = {name for name, modules in imported.items() if any(map(in_library, modules))}
    assert needed - set(FOR_ONE_USE) == names(project()["dependencies"])
    for name, modules in FOR_ONE_USE.items():
        assert imported[name] == modules, name


def test_the_pipeline_s_dependencies(imported: dict[str, set[str]]) -> None:
    base, extras = names(project()["dependencies"]), project()["optional-dependencies"]
    needed = names(extras["pipeline"]) - FOR_DVC
    assert set(imported) - base - {"onnxruntime", "onnxscript", "pyarrow", "timm", "triton"} == needed
    assert {BROUGHT_BY.get(name, name) for name in PIPELINE} == needed


def test_those_who_develop_have_all() -> None:
    (own,) = (
        Requirement(line)
        for line in project()["optional-dependencies"]["dev"]
        if line.startswith("der-pipeline")
    )
    assert own.extras == set(project()["optional-dependencies"]) - {"dev"}


def test_the_page_on_machines_without_dvc_names_what_stages_import(imported: dict[str, set[str]]) -> None:
    text = " ".join((ROOT / "docs/without-dvc.md").read_text(encoding="utf-8").split())
    (sentence,) = re.findall(r"Beside torch it needs (.*?) Where jinja2", text)
    stages = ["check", *list_fingerprinted()]
    modules = set().union(*(hash_modules(f"stages.{one}", ROOT) for one in stages if one != "report"))
    needed = {name for name, by in imported.items() if by & modules} - {"torch", "triton", "dvc"}
    assert {name for name in imported if re.search(rf"\b{re.escape(name)}\b", sentence)} == needed


def imported_by(source: str) -> set[str]:
    """The distributions that a program imports, but for ours and Python's own modules."""
    nodes = list(ast.walk(ast.parse(source)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    tops = {name.partition(".")[0] for name in modules} - {"der", *sys.stdlib_module_names}
    return {BROUGHT_BY.get(top, top) for top in tops}


def test_the_examples_say_what_they_need() -> None:
    programs = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py")]
    notebook = json.loads((ROOT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    programs += ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    needed = set().union(*map(imported_by, programs)) - names(project()["dependencies"])
    lines = (ROOT / "examples/requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    assert {one.name for one in listed} == needed | {"ipykernel"}
    extras = project()["optional-dependencies"]
    known = {str(Requirement(line)) for line in (*extras["dev"], *extras["pipeline"])}
    assert {str(one) for one in listed} <= known
