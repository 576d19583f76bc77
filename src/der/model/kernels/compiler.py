"""C++ compiled where it runs: by the machine's own compiler, for its own processor."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

COMPILERS = ("g++", "c++", "clang++")  # the first that there is
PATIENCE = 120  # seconds; one that takes longer hangs, as on a file system that does not answer
COMPILE = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fopenmp", "-c")
LINK = ("-shared",)  # not -fopenmp: threads are those of the OpenMP that torch has loaded, not a second team


class Unavailable(Exception):
    """There is no compiler, or not one that can do it: part of a sentence that says what is missing."""


class Compiled(NamedTuple):
    """A library in this process."""

    library: ctypes.CDLL
    digest: str  # of its machine code, which decides on the bits of its sums


@cache
def compile_source(source: str) -> Compiled:
    """The library of C++ ``source``: a second or two. Raises Unavailable, but nothing else.

    Compiled anew by every process: what lies on disk for long would have to be trusted, and kept in step with
    compilers and processors.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise Unavailable(
            f"there is no C++ compiler, neither {', '.join(COMPILERS[:-1])} nor {COMPILERS[-1]}"
        )
    try:
        with TemporaryDirectory() as directory:
            unit, library = (str(Path(directory) / name) for name in ("kernels.o", "kernels.so"))
            _run([compiler, "-x", "c++", *COMPILE, "-", "-o", unit], source)
            _run([compiler, *LINK, unit, "-o", library], "")
            digest = hashlib.sha256(Path(library).read_bytes()).hexdigest()
            return Compiled(ctypes.CDLL(library), digest)
    except OSError as error:
        raise Unavailable(f"what {compiler} compiles cannot be loaded ({error})") from None


def _run(line: list[str], text: str) -> None:
    english = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            line, input=text, capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE,
            env=english,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{line[0]} has not compiled what is needed in {PATIENCE} seconds") from None
    if done.returncode:
        complaint = next((one for one in done.stderr.splitlines() if "error" in one), "it says nothing")
        raise Unavailable(f"{line[0]} cannot compile what is needed ({complaint})")
