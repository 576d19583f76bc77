"""The commands and programs that README.md and docs/*.md show, so that tests can run what users will.

An indented block holds commands, one a line. Whatever else is no sentence is fenced, and names its language.
"""

import re
import textwrap
from typing import NamedTuple

from tests.runs.lab import REPOSITORY

COMMANDS = "sh"  # the language of indented blocks
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")))
PARTS = re.compile(
    r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
    r"|(?<=\n\n)(?P<indented>(?:^ {4}[^\n]*\n+)+)"
    r"|^#+ (?P<heading>[^\n]+)$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of a page, without indentation and fences."""

    heading: str  # the nearest above it
    language: str
    text: str


def read_page(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def read_blocks(page: str) -> list[Block]:
    """The blocks of a page in their order."""
    heading, found = "", []
    for part in PARTS.finditer(read_page(page)):
        if part["heading"]:
            heading = part["heading"]
        elif part["indented"]:
            found.append(Block(heading, COMMANDS, textwrap.dedent(part["indented"]).strip()))
        else:
            found.append(Block(heading, part["language"], part["fenced"].strip()))
    return found


def blocks(page: str, heading: str | None = None) -> list[str]:
    """The texts of a page's blocks, or of those below a heading, of which there must be some."""
    found = [block.text for block in read_blocks(page) if heading in (None, block.heading)]
    assert found, (page, heading)
    return found


def programs(page: str, heading: str | None = None) -> list[str]:
    """The Python of a page, or of what is below a heading."""
    wanted = [block for block in read_blocks(page) if heading in (None, block.heading)]
    return [block.text for block in wanted if block.language == "python"]
