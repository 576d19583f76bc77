"""What README and docs show of measured and published results: two tables, and a figure for every curve."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from der.core.errors import UserError
from der.core.files import atomic_file, read_json
from der.pipeline.presets import describe_preset, list_presets, load_preset
from der.pipeline.runs import PUBLISHED, make_curve
from der.report.charts import BLUE, FILE, PALE, SOLID, Chart, Line, draw, over_classes, published_line
from der.summary.series import Curve
from tools.results.record import Record, Runs, read_records

README, DOCS = Path("README.md"), Path("docs")
FIGURES = Path("figures")  # below DOCS
BLOCKS = {"results": README, "figures": DOCS / "results.md", "presets": DOCS / "presets.md"}  # where each is
PAPER = "authors"  # source of the paper's curves


def renew_pages() -> str:
    """Renew tables and figures of published and measured results; returns the table of measured ones."""
    published, runs = read_json(PUBLISHED)["presets"], read_records()
    contents = {
        "results": measured_table(runs, published),
        "figures": show_figures(runs, published),
        "presets": presets_table(list_presets(), published),
    }
    pages = {path: put_block(path, name, contents[name]) for name, path in BLOCKS.items()}
    (DOCS / FIGURES).mkdir(exist_ok=True)
    for name in choose_figures(runs):
        with atomic_file(DOCS / figure_path(name)) as partial:
            draw(results_chart(name, runs[name], curves_beside(name)).spec(FILE), partial)
    for path, text in pages.items():
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return contents["results"]


def put_block(path: Path, name: str, content: str) -> str:
    """Return the text of a page with ``content`` between the two markers of ``name``."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, start, rest = path.read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not start or not end:
        raise UserError(f"{path}: no {first} with {last} after it; write both where its contents belong")
    return f"{before}{first}\n{content}\n{last}{after}"


# Tables


def measured_table(runs: Runs, published: dict[str, Any]) -> str:
    """Make a Markdown table with a row for every preset that was run; top-1 as "average / last"."""
    lines = [
        "| preset | measured here | published, without pruning | with pruning | forgetting | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, records in runs.items():
        if records:
            metrics = [record["metrics"] for record in records]
            measured = _pair(
                mean(one["average_top1"] for one in metrics), mean(one["last_top1"] for one in metrics)
            )
            cells = [name, measured, *_published(published.get(name, {})), _show_forgetting(records)]
            lines.append(f"| {' | '.join([*cells, _list_runs(records)])} |")
            if whole := [one for one in records if len(one["compressed"]) == len(_steps(one)) > 1]:
                top1 = [[step["top1"] for step in one["compressed"].values()] for one in whole]
                measured = _pair(mean(map(mean, top1)), mean(values[-1] for values in top1))
                cells = [f"{name}, compressed to one extractor", measured, "", "", ""]
                lines.append(f"| {' | '.join([*cells, _list_runs(whole)])} |")
    return "\n".join(lines)


def presets_table(presets: list[str], published: dict[str, Any]) -> str:
    """Make a Markdown table with a row for every preset; top-1 in percent, as "average / last"."""
    lines = ["| preset | what it is | without pruning | with pruning |", "|---|---|---|---|"]
    for name in presets:
        cells = [name, describe_preset(name), *_published(published.get(name, {}))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _published(kinds: dict[str, Any]) -> list[str]:
    found = [kinds.get(kind) for kind in ("unpruned", "pruned")]
    return ["" if one is None else _pair(one["average_top1"], one["last_top1"]) for one in found]


def _pair(average: float, last: float) -> str:
    return f"{average:.2f} / {last:.2f}"


def _show_forgetting(records: list[Record]) -> str:
    value = _mean([record["metrics"]["forgetting"] for record in records])
    return "" if value is None else f"{value:.2f}"


def _list_runs(records: list[Record]) -> str:
    orders: dict[str, list[int]] = {}
    for record in records:
        orders.setdefault(record["class_order"], []).append(record["seed"])
    named = [
        f"{order} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
        for order, seeds in orders.items()
    ]
    return f"{len(records)}: {'; '.join(named)}"


# Figures


def choose_figures(runs: Runs) -> list[str]:
    """List the presets that were run and have steps, which a figure shows."""
    return [name for name, records in runs.items() if records and len(_steps(records[0])) > 1]


def figure_path(name: str) -> Path:
    """Where the figure of a preset's runs lies, from the pages in docs."""
    return FIGURES / f"{name}.png"


def show_figures(runs: Runs, published: dict[str, Any]) -> str:
    """Show every figure, with what it does not show."""
    parts = []
    for name in choose_figures(runs):
        curves = curves_beside(name)
        shown = [f"{name}, measured", *(f"{curve.name}, published" for curve in curves)]
        parts += [
            f"![Top-1 over classes seen: {'; '.join(shown)}]({figure_path(name)})",
            describe_steps(name, runs[name], published.get(name, {})),
            *(
                f"The paper's nearest protocol is `{curve.name}`: {describe_preset(curve.name)}"
                for curve in curves
                if curve.name != name
            ),
        ]
    return "\n\n".join(parts)


def describe_steps(name: str, records: list[Record], published: dict[str, Any]) -> str:
    """Say accuracies, factors of weight alignment and forgetting of a preset's runs, in a sentence or two."""
    steps = [_steps(record) for record in records]
    top1 = [_mean([step["top1"] for step in same]) for same in zip(*steps, strict=True)]
    gamma = [_mean([step["gamma"] for step in same]) for same in zip(*steps, strict=True)]
    own = published.get("unpruned", published.get("pruned", {}))
    said = [f"top-1 {_series(top1, 2)}{_beside(own.get('top1'), 2)}"]
    if any(value is not None for value in gamma):
        said.append(f"gamma of weight alignment {_series(gamma, 3)}{_beside(own.get('gamma'), 3)}")
    return (
        f"`{name}`, step by step ({_count(records)}): {'; '.join(said)}. "
        f"Average forgetting after the last step: {_show_forgetting(records)} points."
    )


def curves_beside(name: str) -> list[Curve]:
    """Return the curves to see a run of preset ``name`` beside: its own, and the paper's nearest protocol's.

    With or without pruning, as the preset has it. Curves are named after the preset that they belong to.
    """
    content, preset = read_json(PUBLISHED), load_preset(name)
    kind = "unpruned" if preset["train"]["masks"] is None else "pruned"
    keys = ("source", "image_side", "channels")
    images = [preset["dataset"][key] for key in keys]
    curves, distances = {}, {}
    for other, results in content["presets"].items():
        beside = load_preset(other)
        if "top1" in results.get(kind, {}) and [beside["dataset"][key] for key in keys] == images:
            result, own = results[kind], beside["protocol"]
            first, later = own["first_classes"], own["later_classes"]
            source = content["sources"][result["source"]]
            curves[other] = make_curve(other, source, first, later, list(result["top1"]))
            if result["source"] == PAPER:
                protocol = preset["protocol"]
                distances[other] = abs(first - protocol["first_classes"]) + abs(
                    later - protocol["later_classes"]
                )
    chosen = [name] if name in curves else []
    if name not in distances:
        chosen += sorted(distances, key=distances.__getitem__)[:1]
    return [curves[one] for one in chosen]


def results_chart(name: str, records: Sequence[Record], published: Sequence[Curve]) -> Chart:
    """Show top-1 by classes seen: ``records``, their mean, and ``published`` curves."""
    steps = [_steps(record) for record in records]
    classes = [float(step["classes"]) for step in steps[0]]
    runs = [[step["top1"] for step in run] for run in steps]
    average = list(map(mean, zip(*runs, strict=True)))
    lines = [
        *(Line("", classes, run, PALE, 0.75) for run in runs if len(runs) > 1),
        Line(f"{name}, measured ({_count(records, 'mean')})", classes, average, BLUE, 2.5, SOLID, "circle"),
    ]
    for index, curve in enumerate(published):
        note = "" if curve.name == name else " (the paper's nearest)"
        lines.append(published_line(curve._replace(name=curve.name + note), index))
    return over_classes(f"Preset {name}: measured" + (" and published" if published else ""), lines)


def _steps(record: Record) -> list[Any]:
    return list(record["metrics"]["steps"].values())


def _count(records: Sequence[Record], mean: str = "means") -> str:
    return "1 run" if len(records) == 1 else f"{mean} of {len(records)} runs"


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return mean(numbers) if numbers and len(numbers) == len(values) else None


def _series(values: Sequence[float | None], decimals: int) -> str:
    return ", ".join(f"{value:.{decimals}f}" for value in values if value is not None)


def _beside(values: Sequence[float | None] | None, decimals: int) -> str:
    return "" if values is None else f" (published {_series(values, decimals)})"
