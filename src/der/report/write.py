"""The page itself: everything about a run in one HTML file."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from der.core.cost import show_seconds
from der.core.files import atomic_file
from der.report.contents import contents
from der.report.finished_run import FinishedRun
from der.report.tables import breakable, show_bytes
from der.summary.rounding import show_share
from der.summary.uncertainty import sampling_error

FOLDER = "page"  # of the template, its parts, styles and scripts, beside this module
STYLES = ("base.css", "classes.css", "figures.css", "print.css")
CHARTS = ("common.js", "charts.js")  # scripts of any page
SCRIPTS = (*CHARTS, "matrix.js", "tables.js")


def write_report(run: FinishedRun, path: Path) -> None:
    """Write the page; the same run gives the same bytes."""
    page = render(run)
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def render(run: FinishedRun) -> str:
    """The page as HTML."""
    return fill("page.html", contents(run), SCRIPTS)


def fill(template: str, values: dict[str, Any], scripts: Sequence[str]) -> str:
    """A template of the folder with ``values``, in the page's styles and with ``scripts``."""
    environment = Environment(
        loader=FunctionLoader(read_part),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": show_bytes,
        "breakable": breakable,
        "time": show_seconds,
        "parameters": show_parameters,
        "json": script_json,
        "share": show_share,
    }
    environment.globals["error"] = sampling_error
    return environment.get_template(template).render(
        **values,
        style=Markup("\n".join(map(read_part, STYLES))),
        script=Markup("\n".join(map(read_part, scripts))),
    )


def read_part(name: str) -> str:
    """The text of a file of the folder."""
    return files("der.report").joinpath(FOLDER, name).read_text(encoding="utf-8")


def script_json(value: Any) -> Markup:
    """JSON that can stand in a <script> element, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def show_parameters(count: int) -> str:
    """A number of weights in the largest unit: "463 k", "1.9 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count >= 100 * size else f"{count / size:.1f} {unit}"
    return str(count)
