"""How the test accuracy is broken down."""

from typing import Annotated

from msgspec import Meta

from der.settings.section import Count, Section


class EvaluateSettings(Section, frozen=True):
    """How the test accuracy is broken down."""

    group_labels: Annotated[Count, Meta(description="Labels per group in the accuracy by groups of labels.")]
