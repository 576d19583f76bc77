"""What importing the library costs: torch, and nothing else that is heavy."""

import json
import subprocess
import sys

import pytest

from tests.packaging.test_dependencies import FOR_ONE_USE, LIBRARY
from tests.test_layout import modules_of

HEAVY = (
    *("sklearn", "scipy", "torchvision", "vl_convert", "jinja2", "dvc", "yaml"),
    *("torch._dynamo", "torch._inductor", "sympy"),  # a second, of torch
)
IMPORT_ALL = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
for name in modules:
    importlib.import_module(name)
print(json.dumps([name for name in ("torch", *heavy) if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def modules() -> list[str]:
    found = {name for room in LIBRARY for name in modules_of(f"der.{room}")}
    return sorted(
        found - FOR_ONE_USE["triton"] - {"der.model.kernels.fused", "der.model.kernels.fused_layers"}
    )


def test_the_library_brings_nothing_heavy_but_torch(modules: list[str]) -> None:
    line = [sys.executable, "-c", IMPORT_ALL, json.dumps([modules, HEAVY])]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["torch"]
