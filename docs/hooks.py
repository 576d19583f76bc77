"""Hooks of mkdocs: turn links out of docs/ into links to the repository, and insert the table of settings."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from der.pipeline.edits import make_schema

LINK = re.compile(r"\]\(\.\./([^)\s]+)\)")
TABLE = "<!-- the table of settings -->"  # of the schema's descriptions, so that it is always current
HEAD = "<thead><tr><th>Setting</th><th>Values</th><th>Meaning</th></tr></thead>"
WORDS = {"integer": "whole number", "boolean": "true or false", "string": "text", "array": "list"}


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Replace links to ../file by links to the repository, and fill in the table of settings."""
    if TABLE in markdown:
        rows = "".join(map(_row, *zip(*list_settings(make_schema()), strict=True)))
        markdown = markdown.replace(TABLE, f"<table>{HEAD}<tbody>{rows}</tbody></table>")
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
