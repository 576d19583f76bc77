"""The Triton kernels, on the CPU; whether they give the same on a GPU is seen in test_cuda.py."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent / "interpreted_kernels.py"


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton on this machine")
def test_the_kernels_in_triton_s_interpreter() -> None:
    # Triton reads the variable once, when it is imported, and with it cannot use a GPU.
    line = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", str(TESTS)]
    line += ["-W", "ignore:Conversion of an array with ndim > 0:DeprecationWarning"]  # of Triton 3.6's own
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run(
        line, cwd=TESTS.parent.parent, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "skipped" not in done.stdout
