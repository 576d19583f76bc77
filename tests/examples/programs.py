"""The scripts of examples/ as modules."""

import importlib.util
import sys
from types import ModuleType

from tests.locations import ROOT


def load_program(path: str) -> ModuleType:
    """The script at ``path`` in examples/, imported."""
    name = f"example_{path.replace('/', '_').removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
