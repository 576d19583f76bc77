"""The files are a function of parameters, data and code, not of place, moment or who runs the stages."""

from pathlib import Path

import yaml

from tests.runs.lab import RESULTS, Pipeline, Repro, make_pipeline
from tests.runs.pages import blocks

STAGES, COMMIT, LATER, PAGE = blocks("docs/without-dvc.md")


def test_another_run_at_another_place_gives_the_same_bytes(base: Pipeline, recorded: Pipeline) -> None:
    results = base.results()
    for directory in RESULTS:
        assert any(path.startswith(directory) for path in results), directory
    assert recorded.results() == results
    locks = [pipeline.root / "dvc.lock" for pipeline in (base, recorded)]
    assert locks[0].read_bytes() == locks[1].read_bytes()


def test_all_stages_without_dvc_then_taken_over(base: Pipeline, forks: Path | None, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "pipeline", forks)
    for lines in (STAGES, LATER, PAGE):
        pipeline.shell(lines)
        assert pipeline.results() == base.results()

    pipeline.succeed(*COMMIT.split())
    assert pipeline.succeed("dvc", "status", "--json") == "{}\n"
    assert pipeline.repro() == Repro([], [])
    locks = [yaml.safe_load((one.root / "dvc.lock").read_text()) for one in (pipeline, base)]
    assert locks[0] == locks[1]


def test_results_name_no_place(base: Pipeline) -> None:
    for path in base.results():
        assert str(base.root).encode() not in (base.root / path).read_bytes(), path
