"""All of params.yaml, for those who see the whole; a stage reads its own sections with ``load_section``."""

from pathlib import Path

from der.core.yaml_text import parse_yaml
from der.pipeline.params import parse_section, read_params
from der.pipeline.paths import PARAMS
from der.settings.experiment import Settings


def load_settings(path: Path = PARAMS) -> Settings:
    """Every section, each checked and with the others; raises UserError with one sentence.

    Names of what there is to choose from are text here: see ``der.estimator.choices``.
    """
    return parse_section(Settings, read_params(path), path)


def parse_settings(text: str) -> Settings:
    """As ``load_settings``, of a text of params.yaml."""
    return parse_section(Settings, parse_yaml(text, PARAMS), PARAMS)
