"""The modules that docs/extending.md shows, so that tests run what its readers will."""

import re
from pathlib import Path

from tests.locations import ROOT

PAGE = ROOT / "docs" / "extending.md"


def modules() -> dict[str, str]:
    """Every module of the page, by the name of its file."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def write_modules(directory: Path) -> None:
    """Write them all."""
    for name, text in modules().items():
        (directory / name).write_text(text, encoding="utf-8")
