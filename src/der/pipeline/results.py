"""What README and docs show of measured and published results: two tables, and a figure for every curve."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from der.core.atomic import atomic_file
from der.core.errors import UserError
from der.core.serialization import read_json
from der.pipeline.presets import describe_preset, list_presets
from der.pipeline.published import PUBLISHED, curves_beside
from der.pipeline.records import Record, Runs, read_records
from der.pipeline.results_figure import results_chart
from der.summary.series import Curve

README = Path("README.md")
DOCS = Path("docs")
FIGURES = Path("figures")  # below DOCS
BLOCKS = {"results": README, "figures": DOCS / "results.md", "presets": DOCS / "presets.md"}  # where each is


def renew_results() -> str:
    """Renew tables and figures of published and measured results; returns the measured ones."""
    published, runs = read_json(PUBLISHED)["presets"], read_records()
    contents = {
        "results": measured_table(runs, published),
        "figures": show_figures(runs, published),
        "presets": presets_table(list_presets(), published),
    }
    pages = {path: put_block(path, name, contents[name]) for name, path in BLOCKS.items()}
    draw_figures(runs)
    for path, text in pages.items():
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return contents["results"]


def choose_figures(runs: Runs) -> list[str]:
    """The presets that were run and have steps, which a figure shows."""
    return [name for name, records in runs.items() if records and len(_steps(records[0])) > 1]


def draw_figures(runs: Runs) -> None:
    """Draw the PNG of every figure."""
    from der.report.charts import FILE, draw  # here, for what draws costs a second

    (DOCS / FIGURES).mkdir(exist_ok=True)
    for name in choose_figures(runs):
        with atomic_file(DOCS / figure_path(name)) as partial:
            draw(results_chart(name, runs[name], curves_beside(name)).spec(FILE), partial)


def figure_path(name: str) -> Path:
    """Where the figure of a preset's runs lies, from the pages in docs."""
    return FIGURES / f"{name}.png"


def show_figures(runs: Runs, published: dict[str, Any]) -> str:
    """Every figure, with what it does not show."""
    parts = []
    for name in choose_figures(runs):
        curves = curves_beside(name)
        shown = [f"{name}, measured", *(f"{curve.name}, published" for curve in curves)]
        parts += [
            f"![Top-1 over classes seen: {'; '.join(shown)}]({figure_path(name)})",
            describe_steps(name, runs[name], published.get(name, {})),
            *(describe_nearest(curve) for curve in curves if curve.name != name),
        ]
    return "\n\n".join(parts)


def measured_table(runs: Runs, published: dict[str, Any]) -> str:
    """A Markdown table with a row for every preset that was run; accuracies as "average / last" top-1."""
    lines = [
        "| preset | measured here | published, without pruning | with pruning | forgetting | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, records in runs.items():
        if records:
            forgetting = _mean([record["metrics"]["forgetting"] for record in records])
            cells = [name, _measured(records), *_published(published.get(name, {})), _show(forgetting)]
            lines.append(f"| {' | '.join([*cells, _list_runs(records)])} |")
    return "\n".join(lines)


def presets_table(presets: list[str], published: dict[str, Any]) -> str:
    """A Markdown table with a row for every preset; accuracies as "average / last" top-1 in percent."""
    lines = ["| preset | what it is | without pruning | with pruning |", "|---|---|---|---|"]
    for name in presets:
        cells = [name, describe_preset(name), *_published(published.get(name, {}))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_steps(name: str, records: list[Record], published: dict[str, Any]) -> str:
    """Accuracies, factors of weight alignment and forgetting of a preset's runs, in a sentence or two."""
    steps = [_steps(record) for record in records]
    top1 = [_mean([step["top1"] for step in same]) for same in zip(*steps, strict=True)]
    gamma = [_mean([step["gamma"] for step in same]) for same in zip(*steps, strict=True)]
    own = published.get("unpruned", published.get("pruned", {}))
    said = [f"top-1 {_series(top1, 2)}{_beside(own.get('top1'), 2)}"]
    if any(value is not None for value in gamma):
        said.append(f"gamma of weight alignment {_series(gamma, 3)}{_beside(own.get('gamma'), 3)}")
    forgetting = _mean([record["metrics"]["forgetting"] for record in records])
    runs = "1 run" if len(records) == 1 else f"means of {len(records)} runs"
    return (
        f"`{name}`, step by step ({runs}): {'; '.join(said)}. Average forgetting after the last step: "
        f"{_show(forgetting)} points."
    )


def describe_nearest(curve: Curve) -> str:
    """What a curve of another protocol is."""
    return (
        f"`{curve.name}`, the paper's nearest protocol, is another experiment: {describe_preset(curve.name)}"
    )


def _steps(record: Record) -> list[Any]:
    return list(record["metrics"]["steps"].values())


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return mean(numbers) if numbers and len(numbers) == len(values) else None


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _series(values: Sequence[float | None], decimals: int) -> str:
    return ", ".join(f"{value:.{decimals}f}" for value in values if value is not None)


def _beside(values: Sequence[float | None] | None, decimals: int) -> str:
    return "" if values is None else f" (published {_series(values, decimals)})"


def _published(kinds: dict[str, Any]) -> list[str]:
    found = [kinds.get(kind) for kind in ("unpruned", "pruned")]
    return ["" if one is None else _pair(one["average_top1"], one["last_top1"]) for one in found]


def _measured(records: list[Record]) -> str:
    metrics = [record["metrics"] for record in records]
    return _pair(mean(one["average_top1"] for one in metrics), mean(one["last_top1"] for one in metrics))


def _list_runs(records: list[Record]) -> str:
    orders: dict[str, list[int]] = {}
    for record in records:
        orders.setdefault(record["class_order"], []).append(record["seed"])
    named = [
        f"{order} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
        for order, seeds in orders.items()
    ]
    return f"{len(records)}: {'; '.join(named)}"


def _pair(average: float, last: float) -> str:
    return f"{average:.2f} / {last:.2f}"


def put_block(path: Path, name: str, content: str) -> str:
    """The text of a page with ``content`` between the two markers of ``name``.

    Raises UserError if the page or its markers are missing.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, start, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not start or not end:
        raise UserError(f"{path}: no {first} with {last} after it; write both where its contents belong")
    return f"{before}{first}\n{content}\n{last}{after}"
