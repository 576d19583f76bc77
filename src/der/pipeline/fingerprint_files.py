"""data/fingerprints, as stage check writes it: what the code of every other stage says.

Apart from what other stages import, which would run again after an edit here.
"""

from der.core.errors import UserError
from der.core.files import atomic_directory
from der.pipeline.kept_code import keep
from der.pipeline.paths import FINGERPRINTS
from der.pipeline.running_code import describe
from der.pipeline.user_code import hash_stages


def read_code(stages: list[str]) -> dict[str, str]:
    """The fingerprints of ``stages``; raises UserError as ``hash_stages`` does."""
    return {stage: describe(hashes) for stage, hashes in hash_stages(stages).items()}


def write_fingerprints(texts: dict[str, str]) -> list[str]:
    """Write the fingerprints of stages, as of ``read_code``, if any is new; returns those with a new one.

    Raises UserError if code was edited since.
    """
    old = _read_files()
    if texts != old:
        with atomic_directory(FINGERPRINTS) as directory:
            for stage, text in texts.items():
                (directory / stage).write_text(text, encoding="utf-8")
    if read_code([*texts]) != texts:
        raise UserError("src: edited while stage check read it; run `dvc repro` again")
    keep()
    return [stage for stage, text in texts.items() if old.get(stage) != text]


def _read_files() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in FINGERPRINTS.glob("*")}
