"""Which classes arrive at which step."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from der.core.errors import UserError
from der.settings.section import LARGEST_SEED, Count, Section

FORMS = "a whole number or a list ([...]) of whole numbers alone or of text (in quotes) alone or alphabetical"
# For the schema alone: records that are made in code are held to the same below, in better words.
SEED: dict[str, Any] = {"minimum": 0, "maximum": LARGEST_SEED}
ALIKE: dict[str, Any] = {
    "minItems": 1,
    "anyOf": [{"items": {"type": kind}} for kind in ("integer", "string")],
}


class ProtocolSettings(Section, frozen=True):
    """Which classes arrive at which step."""

    first_classes: Annotated[Count | None, Meta(description="Classes at step 1; null: all there are.")]
    later_classes: Annotated[
        Count, Meta(description="Classes at every later step; a remainder goes to the last one.")
    ]
    class_order: Annotated[
        Annotated[int, Meta(extra_json_schema=SEED)]
        | Annotated[list[Annotated[int, Meta(extra_json_schema=SEED)] | str], Meta(extra_json_schema=ALIKE)]
        | Literal["alphabetical"],
        Meta(description="alphabetical, a seed (1993), a list of seeds ([1993]) or all class names."),
    ]
    steps: Annotated[
        list[list[str]] | None,
        Meta(
            description="Instead of the three above: a list of class names for every step, "
            "[[cat, dog], [bird]]."
        ),
    ]

    def __post_init__(self) -> None:
        seeds = self.class_order if isinstance(self.class_order, list) else [self.class_order]
        if not seeds:
            raise UserError("class_order: is empty; write alphabetical, a seed, or all class names")
        if len({isinstance(one, int) for one in seeds}) > 1:
            raise UserError(f"class_order: {self.class_order!r} does not fit; write {FORMS}")
        for seed in seeds:
            if isinstance(seed, int) and not 0 <= seed <= LARGEST_SEED:
                raise UserError(
                    f"class_order: {seed} is no seed; write whole numbers from 0 to {LARGEST_SEED}"
                )
