"""The commands that README.md shows, so that tests can run what users will."""

import re
import textwrap

from tests.pipeline.lab import REPOSITORY


def blocks(heading: str) -> list[str]:
    """The indented and fenced blocks of a section, in their order, without indentation and fences."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, heading
    found = re.findall(r"^```\w*\n(.*?)^```$|((?:^ {4}[^\n]*\n+)+)", section[1], re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(fenced or indented).strip() for fenced, indented in found]
