"""`python -m stages`: every stage in order without DVC, for a machine that has torch but no DVC.

The files are those of `dvc repro`; on a machine with DVC, `dvc commit` takes them over.
"""

import argparse
from collections.abc import Callable
from functools import partial

from der.core import ranks
from der.core.errors import ending_in_a_sentence
from der.pipeline import paths
from der.pipeline.chain import chain_length
from der.pipeline.damage import advising
from der.pipeline.environment import set_up_device
from der.pipeline.markers import is_unused
from der.pipeline.processes import by_torchrun, count_processes, is_member, local_rank
from der.pipeline.provenance import check_recipes
from der.pipeline.running_code import RunningCode
from der.pipeline.runs import conclude
from der.pipeline.settings import load_settings
from der.pipeline.stage import ending_as_member, perform_check, perform_stage
from der.pipeline.team import ending_all, meet_by_torchrun
from der.pipeline.watching import watching_next
from stages import build_memory, check, download, evaluate, initialize, split, summarize, train_task

SHARED = ("train_task", "build_memory", "evaluate")  # stages that several processes work on
PAGE_NEEDS = ("jinja2",)  # packages that only the page needs


def run_report(code: RunningCode) -> str:
    """The page, or a sentence that says why not: no result depends on it."""
    try:
        from stages import report
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(PAGE_NEEDS):
            raise
        return conclude(f"report: left out, {error.name} is not installed; run `der report` where it is")
    return report.run(code)


def list_stages(steps: int) -> dict[str, Callable[[RunningCode], str]]:
    """Every stage after check by the name DVC gives it, in the order in which it can run."""
    stages: dict[str, Callable[[RunningCode], str]] = {
        "download": download.run,
        "split": split.run,
        "initialize": initialize.run,
    }
    for step in range(1, steps + 1):
        stages[f"train_task@{step}"] = partial(train_task.run, step)
        stages[f"build_memory@{step}"] = partial(build_memory.run, step)
        stages[f"evaluate@{step}"] = partial(evaluate.run, step)
    stages["summarize"] = summarize.run
    stages["report"] = run_report
    return stages


def check_skipped(start: str) -> None:
    """Raise UserError if the steps before stage ``start`` were trained with other parameters."""
    name, _, step = start.partition("@")
    if name in ("summarize", "report"):
        trained = sum(not is_unused(paths.train_images(one)) for one in range(1, chain_length() + 1))
    else:
        trained = int(step or 0) - (name == "train_task")
    if trained > 0:
        check_recipes(trained, load_settings())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    parser.add_argument(
        "--start-at", metavar="STAGE", default="download", help="skip those before, but check"
    )
    start = parser.parse_args().start_at
    with ending_in_a_sentence("interrupted"):
        stages = list_stages(chain_length())
        if start not in stages:
            parser.error(f"argument --start-at: no stage {start!r}; choose from {', '.join(stages)}")
        names = list(stages)
        wanted = {name: stages[name] for name in names[names.index(start) :]}
        several = count_processes() > 1
    if several and by_torchrun():
        join()
        with watching_next():
            run_all(wanted, start)
            meet()  # who is done before the others would seem to hang
        ranks.leave()
    else:
        run_all(wanted, start)


def run_all(stages: dict[str, Callable[[RunningCode], str]], start: str) -> None:
    """Check, and then run ``stages``, of which ``start`` is the first."""
    if not is_member():
        perform_check(check.run)
        with ending_in_a_sentence("interrupted"), advising():
            check_skipped(start)
    for name, run in stages.items():
        meet()
        if not is_member() or helps_with(name):
            perform_stage(name, run)


def join() -> None:
    """Be one of those that torchrun has started; what is wrong with a machine, its first process says."""
    with ending_as_member() if local_rank() else ending_in_a_sentence("interrupted"), ending_all():
        meet_by_torchrun(set_up_device())


def meet() -> None:
    """Wait for the other processes, so that what a stage reads is there; one that is lost ends this one."""
    with ending_as_member() if is_member() else ending_in_a_sentence("interrupted"), ending_all():
        ranks.meet()


def helps_with(stage: str) -> bool:
    """Whether several processes share the work of a stage; all look at what split has left."""
    name, _, step = stage.partition("@")
    return name in SHARED and not is_unused(paths.train_images(int(step)))


if __name__ == "__main__":
    main()
