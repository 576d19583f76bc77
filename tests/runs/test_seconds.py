"""Seconds of stages under a real DVC: which a run computed, and which it kept or restored."""

import json

from tests.runs.lab import Pipeline, numbered

READ = """
import json
from der.pipeline.paths import stages_of
from der.pipeline.timing import read_times
print(json.dumps({stage: time.computed for stage, time in read_times(stages_of(2)).items()}))
"""


def read(pipeline: Pipeline) -> dict[str, bool]:
    """Of the stages whose seconds are known, whether the newest run computed them."""
    times: dict[str, bool] = json.loads(pipeline.succeed("python", "-c", READ, PYTHONPATH="src"))
    return times


def computed(pipeline: Pipeline) -> set[str]:
    return {stage for stage, newest in read(pipeline).items() if newest}


def of_protocol(stages: list[str]) -> set[str]:
    return {stage for stage in stages if not stage.endswith("@3")}


def test_computed_kept_and_unknown(pipeline: Pipeline) -> None:
    plain = pipeline.plain()  # a run is known by the process of its dvc
    pipeline.succeed("git", "add", "--force", "data/images")  # a copy of the repository has what git has
    pipeline.commit("Images")
    assert read(pipeline) == {}  # it was computed elsewhere, as what `dvc pull` brings

    pipeline.edit(evaluate__group_labels=1)
    first = of_protocol(plain.repro().run)
    assert first == {"check", *numbered("E1", "E2"), "summarize", "report"}
    assert computed(pipeline) == set(read(pipeline)) == first

    pipeline.add_code("src/der/report/page.py")
    second = of_protocol(plain.repro().run)
    assert set(read(pipeline)) == first and computed(pipeline) == second < first

    plain.succeed("dvc", "exp", "run", "--temp", "--name", "apart", "-S", "evaluate.group_labels=3")
    pipeline.succeed("dvc", "exp", "apply", "apart")
    assert computed(pipeline) == set(read(pipeline)) >= {*numbered("E1", "E2"), "summarize", "report"}
