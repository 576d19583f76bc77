"""The table of published and measured results, which the README shows."""

from pathlib import Path
from statistics import mean
from typing import Any

from der.common.atomic import atomic_file
from der.common.errors import UserError
from der.common.serialization import read_json
from der.project.presets import PRESETS, list_names
from der.project.published import PUBLISHED
from der.project.records import RESULTS

README = Path("README.md")
START, END = "<!-- results -->", "<!-- /results -->"

Runs = dict[str, list[dict[str, Any]]]  # preset -> its records


def renew_results() -> str:
    """Renew the README's table of published and measured results; returns the table."""
    table = results_table(list_names(PRESETS), read_json(PUBLISHED)["presets"], read_runs())
    new = put_table(README.read_text(encoding="utf-8"), table)
    with atomic_file(README) as partial:
        partial.write_text(new, encoding="utf-8")
    return table


def read_runs() -> Runs:
    """The records in results/ by preset; raises UserError for one of a preset that is no more."""
    runs: Runs = {name: [] for name in list_names(PRESETS)}
    for path in sorted(RESULTS.glob("*.json")):
        if path == PUBLISHED:
            continue
        record = read_json(path)
        if record["preset"] not in runs:
            raise UserError(f"{path}: {record['preset']} is no preset; rename it there, or remove the file")
        runs[record["preset"]].append(record)
    return runs


def results_table(presets: list[str], published: dict[str, Any], runs: Runs) -> str:
    """A Markdown table with a row for every preset; accuracies as "average / last" top-1 in percent."""
    lines = [
        "| preset | published, without pruning | published, with pruning | measured here | runs |",
        "|---|---|---|---|---|",
    ]
    for name in presets:
        kinds = published.get(name, {})
        cells = [_published(kinds.get(kind)) for kind in ("unpruned", "pruned")]
        lines.append(f"| {name} | {' | '.join(cells)} | {_measured(runs[name])} |")
    return "\n".join(lines)


def _published(numbers: dict[str, Any] | None) -> str:
    return "" if numbers is None else _pair(numbers["average_top1"], numbers["last_top1"])


def _measured(records: list[dict[str, Any]]) -> str:
    if not records:
        return "not run | "
    metrics = [record["metrics"] for record in records]
    means = [mean(one[key] for one in metrics) for key in ("average_top1", "last_top1")]
    which = ", ".join(f"{record['class_order']} seed {record['seed']}" for record in records)
    return f"{_pair(*means)} | {len(records)}: {which}"


def _pair(average: float, last: float) -> str:
    return f"{average:.2f} / {last:.2f}"


def put_table(text: str, table: str) -> str:
    """``text`` with ``table`` between the two markers; raises UserError if they are missing."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise UserError(f"{README}: no {START} with {END} after it; write both where the table belongs")
    return f"{before}{START}\n{table}\n{END}{after}"
