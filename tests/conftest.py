"""Set-up of every test process."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"  # several test processes share the cores; read when torch is imported
for name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[name]  # of the commit whose hook runs the tests: a test's own repository is another

# The same examples for the same code, and none that fails for taking long: a test fails for what it tests.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def usual_numbers() -> Iterator[None]:
    """Undo what setting a device up does to the process, which then flushes numbers near zero."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


PIPELINE = Path(__file__).parent / "pipeline"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs of `dvc repro` are slow, all of them."""
    for item in items:
        if item.path.is_relative_to(PIPELINE):
            item.add_marker(pytest.mark.slow)
