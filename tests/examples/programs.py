"""The scripts of examples/ and the modules that docs/extending.md shows, for tests that run them."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from tests.locations import ROOT

PAGE = ROOT / "docs" / "extending.md"


def load_program(path: str) -> ModuleType:
    """The script at ``path`` in examples/, imported."""
    name = f"example_{path.replace('/', '_').removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def modules() -> dict[str, str]:
    """Every module of the page, by the name of its file."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def write_modules(directory: Path) -> None:
    """Write them all."""
    for name, text in modules().items():
        (directory / name).write_text(text, encoding="utf-8")
