"""Set-up of every test process."""

import gc
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.examples_drawn import USUAL

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from der.model.kernels.processor import Kernels

# What tests write need not outlive a power cut, and to wait for the disk took a third of their time.
os.fsync = lambda fd: None
os.environ["OMP_NUM_THREADS"] = "1"  # several test processes share the cores; read when torch is imported
for name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[name]  # of the commit whose hook runs the tests: a test's own repository is another

# The same examples for the same code, and none that fails for taking long: a test fails for what it tests.
settings.register_profile(
    "repeatable",
    max_examples=USUAL,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What is left out unless asked for: tests that go on for as long as one likes, those on a cluster."""
    parser.addoption(
        "--torture", type=int, default=0, metavar="N", help="kill N pipelines; draw N examples of a property"
    )
    parser.addoption("--slurm", action="store_true", help="run jobs on a Slurm of the tests' own")


def pytest_configure(config: pytest.Config) -> None:
    """As many examples as are asked for, where that is more than usual."""
    usual = settings()
    settings.register_profile(
        "torture", usual, max_examples=max(usual.max_examples, config.getoption("torture"))
    )
    settings.load_profile("torture")


@pytest.fixture(autouse=True)
def usual_numbers() -> Iterator[None]:
    """Undo what setting a device up does to the process, which then flushes numbers near zero."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def kernels() -> "Kernels":
    """What the machine's own compiler makes; skips where it has none."""
    # Only now: torch costs seconds, and most tests do without.
    from der.model.kernels.processor import Unavailable, compiled_kernels

    try:
        return compiled_kernels()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """One for all tests of pages; nothing of it is imported for tests that ask for none."""
    from playwright.sync_api import sync_playwright

    from tests.report.browser import CHROMIUM, FLAGS

    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on the PATH; install one")
        pytest.skip("no Chromium on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


TESTS = Path(__file__).parent
# Folders of tests that take seconds, which `make check` leaves out. Any other file says so itself, by a line
# that begins with MARK.
SLOW = ("runs", "bench", "docs", "examples", "cluster", "compatibility")
MARK = "pytestmark = pytest.mark.slow"
# What takes longest, first of all: minutes in one piece, which at the end would leave a core idle.
LONGEST = ("cluster", "runs/test_torture.py", "runs/test_experiments.py", "runs")


@cache
def is_slow(path: Path) -> bool:
    if path.relative_to(TESTS).parts[0] in SLOW:
        return True
    return path.suffix == ".py" and f"\n{MARK}" in path.read_text(encoding="utf-8")


@cache
def rank(path: Path) -> int:
    """The place of a file's tests among all, those that take longest first."""
    slow = len(LONGEST) + (not is_slow(path))
    return next((place for place, name in enumerate(LONGEST) if path.is_relative_to(TESTS / name)), slow)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out unread what `make check` leaves out: what it imports costs seconds."""
    inside = config.option.markexpr == "not slow" and TESTS in collection_path.parents
    return True if inside and is_slow(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow, and put the longest first, so that workers end together, on tests of moments.

    What only an option asks for is left out.
    """
    for asked_for in ("torture", "slurm"):
        if not config.getoption(asked_for):
            items[:] = [item for item in items if not item.get_closest_marker(asked_for)]
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: rank(item.path))


def pytest_collection(session: pytest.Session) -> None:
    """Collect no garbage among what lasts: modules, tests, their parameters."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave all that out of the garbage collector's rounds."""
    gc.freeze()
    gc.enable()
