"""`python -m stages`: every stage in order without DVC, for a machine that has torch but no DVC.

The files are those of `dvc repro`; on a machine with DVC, `dvc commit` takes them over.
"""

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from der.core import distributed
from der.pipeline import environment, presets, project, provenance, runs
from der.pipeline.stage import Given, ending, is_shared, perform_check, perform_stage
from stages import check

PAGE_NEEDS = ("jinja2",)  # packages that only the page needs


def run_report(given: Given) -> str:
    """Write the page, or return a sentence that says why not: no result depends on the page."""
    try:
        from stages import report
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(PAGE_NEEDS):
            raise
        return runs.conclude(f"report: left out, {error.name} is not installed; run `der report` where it is")
    return report.run(given)


def list_stages(steps: int) -> dict[str, Callable[[Given], str]]:
    """List every stage after check by its name in DVC, in the order of a run."""
    stages: dict[str, Callable[[Given], str]] = {}
    for stage in project.stages_of(steps)[1:]:
        name, _, step = stage.partition("@")
        run: Any = run_report if name == "report" else import_module(f"stages.{name}").run
        stages[stage] = partial(run, int(step)) if step else run
    return stages


def check_skipped(start: str) -> None:
    """Raise UserError if the steps before stage ``start`` were trained with other parameters."""
    name, _, step = start.partition("@")
    if name in ("summarize", "report"):
        images = map(project.train_images, range(1, project.chain_length() + 1))
        trained = sum(not project.is_unused(one) for one in images)
    else:
        trained = int(step or 0) - (name == "train_task")
    if trained > 0:
        provenance.check_recipes(trained, presets.load_settings())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    parser.add_argument("--start-at", metavar="STAGE", default="download", help="skip those before but check")
    start = parser.parse_args().start_at
    with ending():
        stages = list_stages(project.chain_length())
        if start not in stages:
            parser.error(f"argument --start-at: no stage {start!r}; choose from {', '.join(stages)}")
        names = list(stages)
        wanted = {name: stages[name] for name in names[names.index(start) :]}
        environment.run_together(partial(run_all, wanted, start), "stages", "--start-at", start)


def run_all(stages: dict[str, Callable[[Given], str]], start: str) -> None:
    """Run check and then ``stages``, of which ``start`` is the first."""
    environment.end_with_parent()
    if not environment.is_worker():
        perform_check(check.run)
        check_skipped(start)
    for name, run in stages.items():
        distributed.barrier()  # what the stage reads is there
        if not environment.is_worker() or is_shared(name):
            perform_stage(name, run)


if __name__ == "__main__":
    main()
