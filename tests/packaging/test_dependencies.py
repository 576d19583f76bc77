"""Every list of dependencies is what the code that it is for imports, and the library needs no other."""

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement

from der.cli.main import PIPELINE
from der.pipeline.fingerprint import Code
from stages.check import list_fingerprinted
from tests.locations import ROOT
from tests.test_layout import IMPORT_ALL, modules_of

pytestmark = pytest.mark.slow

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LIBRARY = {
    *("core", "settings", "data", "model", "train", "memory", "evaluation", "inference", "estimator", "cli")
}
BROUGHT_BY = {
    **{"PIL": "pillow", "hydra": "hydra-core", "ruamel": "ruamel.yaml"},
    **{"sklearn": "scikit-learn", "yaml": "pyyaml", "vl_convert": "vl-convert-python"},
}
FOR_DVC = {"ruamel.yaml.clib"}  # which DVC's parser imports where it is there
# What rooms of the library import inside functions, for one use alone, and where.
FOR_ONE_USE: dict[str, str | tuple[str, ...]] = {
    "pyarrow": "der.data.sources.",  # of extra parquet: its source is imported when it is named
    "torchvision": ("der.data.sources.", "der.train.policies"),  # of extra pipeline: downloads, policies
    "onnxruntime": "der.inference.",  # of extra onnx
    "onnxscript": "der.inference.",
    "timm": "der.model.",  # of extra photos: backbones of its family
    "huggingface_hub": "der.estimator.",  # of extra hub
    "pandas": "der.estimator.",  # of history_
    "shtab": "der.cli.",  # of extra pipeline
    "triton": "der.model.kernels.",  # torch's, for CUDA
}
WITH_TRITON = {
    f"der.model.kernels.{name}" for name in ("convolution", "normalization", "fused", "fused_layers")
}
HEAVY = (
    *("sklearn", "scipy", "torchvision", "pandas", "matplotlib", "dvc", "yaml"),
    *("torch._dynamo", "torch._inductor", "sympy"),  # a second, of torch
)


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


def test_every_list_is_of_what_is_imported(imported: dict[str, set[str]]) -> None:
    rooms = tuple(f"der.{room}." for room in LIBRARY)
    needed = {name for name, modules in imported.items() if any(one.startswith(rooms) for one in modules)}
    assert needed - set(FOR_ONE_USE) == names(PROJECT["dependencies"])
    for name, place in FOR_ONE_USE.items():
        assert all(module.startswith(place) for module in imported[name]), name
    pipeline = names(EXTRAS["pipeline"]) - FOR_DVC
    others = set(FOR_ONE_USE) - {"torchvision", "shtab"}
    assert set(imported) - names(PROJECT["dependencies"]) - others == pipeline
    assert {BROUGHT_BY.get(name, name) for name in PIPELINE} == pipeline
    (developers,) = (Requirement(line) for line in EXTRAS["dev"] if line.startswith("der-pipeline"))
    assert developers.extras == set(EXTRAS) - {"dev"}


def test_the_page_on_machines_without_dvc_names_what_stages_import(imported: dict[str, set[str]]) -> None:
    text = " ".join((ROOT / "docs/pipeline.md").read_text(encoding="utf-8").split())
    (sentence,) = re.findall(r"Besides torch it needs (.*?) Without jinja2", text)
    stages = ["check", *list_fingerprinted()]
    modules = set().union(*(Code({}, ROOT).hash_stage(one) for one in stages if one != "report"))
    needed = {name for name, by in imported.items() if by & modules} - {"torch", "triton", "dvc"}
    assert {name for name in imported if re.search(rf"\b{re.escape(name)}\b", sentence)} == needed


def test_importing_the_library_brings_nothing_heavy_but_torch() -> None:
    modules = {name for room in LIBRARY for name in modules_of(f"der.{room}")}
    modules -= WITH_TRITON | {"der.train.policies"}
    line = [sys.executable, "-c", IMPORT_ALL, json.dumps([sorted(modules), ["torch", *HEAVY]])]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["torch"]
