"""How the test accuracy is broken down."""

from dataclasses import dataclass
from typing import Annotated

from der.settings.ranges import MOST, Range, Section


@dataclass(frozen=True)
class EvaluateSettings(Section):
    """How the test accuracy is broken down."""

    group_labels: Annotated[int, Range(1, MOST)]  # labels per accuracy group
