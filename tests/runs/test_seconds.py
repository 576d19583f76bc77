"""Seconds of stages under a real DVC: which a run computed, and which it kept or restored."""

import json

from tests.runs.lab import Pipeline

READ = """
import json
from der.pipeline.project import stages_of
from der.pipeline.timing import read_times
print(json.dumps({stage: time.computed for stage, time in read_times(stages_of(2)).items()}))
"""
TARGET = "split"  # what comes before it costs little


def read(pipeline: Pipeline) -> dict[str, bool]:
    """Of the stages whose seconds are known, whether the newest run computed them."""
    times: dict[str, bool] = json.loads(pipeline.succeed("python", "-c", READ, PYTHONPATH="src"))
    return times


def test_computed_kept_and_unknown(pipeline: Pipeline) -> None:
    plain = pipeline.plain()  # a run is known by the process of its dvc
    pipeline.succeed("git", "add", "--force", "data/images")  # a copy of the repository has what git has
    pipeline.commit("Images")
    assert read(pipeline) == {}  # it was computed elsewhere, as what `dvc pull` brings
    pipeline.edit(protocol__first_classes=1, protocol__later_classes=3)
    assert plain.repro(TARGET).run == ["check", "split"]
    assert read(pipeline) == {"check": True, "split": True}
    pipeline.add_code("src/der/data/sources/registry.py")
    assert plain.repro(TARGET).run == ["check", "download"]
    assert read(pipeline) == {"check": True, "download": True, "split": False}
    line = ("dvc", "exp", "run", "--temp", "--name", "apart", "-S", "protocol.first_classes=3")
    plain.succeed(*line, "-S", "protocol.later_classes=1", TARGET)
    pipeline.succeed("dvc", "exp", "apply", "apart")
    assert read(pipeline) == {"check": True, "download": False, "split": True}
