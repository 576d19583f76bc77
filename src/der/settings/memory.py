"""How many exemplars are kept."""

from typing import Annotated, Literal

from msgspec import Meta

from der.settings.section import Count, Section, Seed


class MemorySettings(Section, frozen=True):
    """How many exemplars of old classes are kept."""

    budget: Annotated[Count, Meta(description="Exemplars (images): in all, or of each class.")]
    allocation: Annotated[
        Literal["total", "per_class"],
        Meta(description="total: budget // classes seen for each class; per_class: budget for each class."),
    ]
    selection: Annotated[str, Meta(description="How exemplars are chosen; random is an ablation.")]
    seed: Annotated[Seed, Meta(description="Of random selection.")]
