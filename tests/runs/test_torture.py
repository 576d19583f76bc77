"""The whole of `dvc repro`, killed at random moments until it ends: `make torture` kills a thousand times.

SIGKILL to all processes at once, DVC's own among them, as when a machine runs out of memory. The next
`dvc repro` goes on, the last ends with the bytes of one nobody disturbed, and nothing half-written stays.
"""

import random
import re
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runs.conftest import build_once
from tests.runs.killing import PATIENCE, started, wait_for
from tests.runs.lab import Digests, Pipeline, make_pipeline, repeatable

pytestmark = pytest.mark.torture

ROUND = 20  # kills in one test
BEGUN = 4  # stages that a run may begin before it is killed; with each it comes nearer to the end
RUNNING = re.compile(r"^Running stage '([a-z_]+)", re.MULTILINE)
HALF_WRITTEN = re.compile(
    r"^error: (dvc\.lock|\.dvc/tmp/rwlock): half-written, .+; remove it and run `dvc repro`"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many tests of ROUND kills as --torture asks for."""
    if "kills" in metafunc.fixturenames:
        kills = metafunc.config.getoption("torture") or 0
        rounds = [min(ROUND, kills - done) for done in range(0, kills, ROUND)]
        metafunc.parametrize(("number", "kills"), list(enumerate(rounds)))


def make_long(root: Path) -> Pipeline:
    """A pipeline nobody has run, with phases of training long enough to be killed in; all rebalance."""
    pipeline = make_pipeline(root)
    phases = ("base", "incremental", "incremental__classifier")
    pipeline.edit(
        train__incremental__rebalancing="classifier_learning",
        **{f"train__{phase}__epochs": 20 for phase in phases},
        **{f"train__{phase}__learning_rate": 0.01 for phase in phases},
    )
    pipeline.commit("Longer phases")
    return pipeline


@pytest.fixture(scope="session")
def unrun(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A pipeline nobody has run; only to be copied."""
    return Pipeline(build_once(tmp_path_factory, "unrun", make_long))


@pytest.fixture(scope="session")
def undisturbed(unrun: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tuple[Digests, float]:
    """What one `dvc repro` leaves, dvc.lock among it, and its seconds for each stage."""

    def build(root: Path) -> None:
        pipeline = unrun.copy_to(root)
        begin = time.monotonic()
        stages = pipeline.repro().run
        seconds = (time.monotonic() - begin) / len(stages)
        (root.parent / "undisturbed.seconds").write_text(str(seconds))

    root = build_once(tmp_path_factory, "undisturbed", build)
    return repeatable(root), float((root.parent / "undisturbed.seconds").read_text())


def kill_after(pipeline: Pipeline, begun: int, seconds: float) -> str | None:
    """Where a `dvc repro` was killed: so long after it began so many stages; None if it ended before."""
    with started(pipeline, "dvc", "repro") as repro:
        wait_for(lambda: repro.ended() or len(RUNNING.findall(repro.printed)) >= begun)
        with suppress(subprocess.TimeoutExpired):
            repro.process.wait(seconds)
        killed = not repro.ended()
        if killed:
            repro.kill()
    if not killed and repro.process.returncode:
        mend(pipeline, repro.printed)
        return kill_after(pipeline, begun, seconds)
    return (RUNNING.findall(repro.printed) or ["no stage"])[-1] if killed else None


def mend(pipeline: Pipeline, printed: str) -> None:
    """Do what `der check` says, which is to remove a file of DVC's own, and nothing else."""
    said = pipeline.command("python", "-m", "der", "check", PYTHONPATH="src").stderr
    found = HALF_WRITTEN.match(said)
    assert found, f"{printed}\n{said}"
    print(f"removed {found[1]}, after {printed!r}")
    (pipeline.root / found[1]).unlink()


def assert_nothing_half_written(pipeline: Pipeline) -> None:
    beside = Path(pipeline.environment()["DER_SCRATCH"])
    assert [path for root in (pipeline.root, beside) for path in root.rglob("*.partial")] == []
    assert [path for path in beside.iterdir() if path.is_dir()] == []  # no training's state
    assert pipeline.der("verify") == "no damage\n"


def test_killed_at_any_moment_it_ends_the_same(
    number: int, kills: int, unrun: Pipeline, undisturbed: tuple[Digests, float], tmp_path: Path
) -> None:
    expected, seconds_of_a_stage = undisturbed
    draw = random.Random(number)
    where: Counter[str] = Counter()
    runs = 0
    while where.total() < kills:
        runs += 1
        pipeline = unrun.copy_to(tmp_path / str(runs))
        while where.total() < kills:
            # At any moment of a stage, or of DVC's work before and after it.
            stage = kill_after(pipeline, draw.randrange(BEGUN), draw.uniform(0, 1.5 * seconds_of_a_stage))
            if stage is None:
                break
            where[stage] += 1
        assert kill_after(pipeline, 0, 5 * PATIENCE) is None
        assert repeatable(pipeline.root) == expected
        assert_nothing_half_written(pipeline)
    print(f"round {number}: {where.total()} kills, {runs} runs to the end; {dict(where)}")
