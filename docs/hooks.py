"""Hooks of mkdocs: the tutorial as a page, links out of docs/, and the table of settings."""

import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from mkdocs.structure.files import File
from nbclient import NotebookClient

from tools.settings import make_schema

NOTEBOOK = "tutorial.ipynb"
RECORDED = "DOCS_RECORDED"  # of the environment: show the notebook's stored outputs, and run nothing

LINK = re.compile(r"\]\(\.\./([^)\s]+)\)")
TABLE = "<!-- the table of settings -->"  # of the schema's descriptions, so that it is always current
HEAD = "<thead><tr><th>Setting</th><th>Values</th><th>Meaning</th></tr></thead>"
WORDS = {"integer": "whole number", "boolean": "true or false", "string": "text", "array": "list"}


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the tutorial's page; its cells run now, in half a minute."""
    notebook = nbformat.read(Path(config.docs_dir) / NOTEBOOK, as_version=4)
    if not os.environ.get(RECORDED):
        with TemporaryDirectory() as directory:
            place = {"metadata": {"path": directory}}
            NotebookClient(notebook, timeout=600, coalesce_streams=True, resources=place).execute()
    page = NOTEBOOK.replace(".ipynb", ".md")
    files.append(File.generated(config, page, content="\n\n".join(map(_show_cell, notebook.cells))))
    return files


def _show_cell(cell: Any) -> str:
    """A cell as Markdown: what it says, or its code, and what that left."""
    if cell.cell_type == "markdown":
        return str(cell.source)
    parts = [f"```python\n{cell.source}\n```"]
    for output in cell.outputs:
        if "image/png" in output.get("data", {}):
            parts.append(f"![What the code draws](data:image/png;base64,{output.data['image/png'].strip()})")
        else:
            parts.append(f"```text\n{output.get('text') or output.data['text/plain']}\n```")
    return "\n\n".join(parts)


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Replace links to ../file by links to the repository, and fill in the table of settings."""
    if TABLE in markdown:
        rows = "".join(map(_row, *zip(*list_settings(make_schema()), strict=True)))
        markdown = markdown.replace(TABLE, f"<table>{HEAD}<tbody>{rows}</tbody></table>")
    markdown = markdown.replace(f"]({NOTEBOOK})", f"]({NOTEBOOK.replace('.ipynb', '.md')})")  # as in a clone
    return LINK.sub(rf"]({config.extra['repository']}/blob/main/\1)", markdown)


def list_settings(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key, with dots, and its entry in the schema; a section comes before its keys."""

    def walk(name: str, section: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, said in section["properties"].items():
            places = [one["$ref"] for one in (said, *said.get("anyOf", [])) if "$ref" in one]
            inner = [schema["$defs"][place.rpartition("/")[2]] for place in places]
            description = " ".join(one["description"].partition("\n")[0] for one in inner)
            yield name + key, {"description": description, **said}
            for one in inner:
                yield from walk(f"{name}{key}.", one)

    yield from walk("", schema["$defs"]["Settings"])


def _row(key: str, said: dict[str, Any]) -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in (_values(said), said["description"]))
    return f"<tr><td><code>{key}</code></td>{cells}</tr>"


def _values(said: dict[str, Any]) -> str:
    """Describe the type of a setting in words; bounds are in params.schema.json."""
    if said.get("type") == "array":
        return WORDS["array"]
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(map(_values, said["anyOf"])))
    if "enum" in said:
        return " or ".join(map(str, said["enum"]))
    if "$ref" in said:
        return "section"
    if "pattern" in said:
        return "timm:<name>" if said["pattern"].startswith("^timm:") else "module:function"
    kind = said.get("type", "integer")  # a bound alone: a seed
    return WORDS.get(kind, kind)
