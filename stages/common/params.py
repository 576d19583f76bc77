"""params.yaml, checked as a whole before any work."""

from pathlib import Path

import yaml

from der.common.errors import UserError
from der.common.parsing import parse
from der.common.settings import Settings
from stages.common.paths import PARAMS


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml; raises UserError with one sentence that says where and what."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{path}: not found; run from the repository's root") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    try:
        return parse(Settings, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
