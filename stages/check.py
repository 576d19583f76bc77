"""check: validate parameters and chain, then write the fingerprint of every other stage's code.

It runs before all stages, so that a refusal ends the run before DVC has removed any output.
"""

from functools import partial
from pathlib import Path

from der.pipeline.fingerprint import read_code, write_fingerprints
from der.pipeline.stage import run_check


def list_fingerprinted() -> list[str]:
    names = [path.stem for path in Path(__file__).parent.glob("*.py")]
    return sorted(name for name in names if not name.startswith("__") and name != "check")


def run() -> str:
    code = read_code(list_fingerprinted())
    # Only now: a module that cannot be parsed cannot be imported either.
    from der.pipeline.dvc import forget_misrecorded
    from der.pipeline.edits import check_project, complete_params

    if added := complete_params():
        print(f"params.yaml: added, with their defaults: {', '.join(added)}", flush=True)
    for sentence in forget_misrecorded():  # else DVC goes on from what is not so
        print(sentence, flush=True)
    check_project(partial(print, flush=True))
    changed = write_fingerprints(code)
    return f"check: parameters and chain are good; stages with new code: {', '.join(changed) or 'none'}"


if __name__ == "__main__":
    run_check(run)
