"""Training state of several ranks: the first has it, and the others go on from it."""

from collections.abc import Callable

from torch import Tensor

from der.core import ranks
from der.train.log import EpochRecord
from der.train.resume import Saved, StateKeeper


class SharedState(StateKeeper):
    """A StateKeeper for every rank; ``keeper`` is the first's, and is not asked by the others."""

    def __init__(self, keeper: StateKeeper) -> None:
        self.keeper = keeper

    def load(self, phase: str) -> Saved | None:
        """The first rank's newest state of ``phase``, if there is any."""
        saved = self.keeper.load(phase) if ranks.is_first() else None
        ranks.meet()  # reading may take longer than a rank has to answer
        return ranks.share(saved)

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        """Have the first rank keep the state, which is every rank's."""
        if ranks.is_first():
            self.keeper.save(phase, records, pack, last=last)
