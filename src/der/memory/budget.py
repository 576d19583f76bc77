"""How many exemplars of each class the memory holds."""

from der.core.errors import UserError
from der.settings.sections import MemorySettings


def exemplars_per_class(settings: MemorySettings, classes: int) -> int:
    """m: the fixed number per class, or an equal share of the fixed total."""
    return settings.budget if settings.allocation == "per_class" else settings.budget // classes


def check_budget(settings: MemorySettings, classes: int) -> None:
    """Raise UserError if the budget leaves no exemplar for each of ``classes``."""
    if not exemplars_per_class(settings, classes):
        raise UserError(
            f"memory.budget: {settings.budget} leaves no exemplar for each of {classes} classes; "
            f"write at least {classes}"
        )
