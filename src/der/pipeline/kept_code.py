"""What modules say, kept beside the training state: to parse them costs every stage a seventh of a second.

No fingerprint depends on it, for what is kept is found by all that it was made from.
"""

import msgspec

from der.core.errors import DamageError, UserError
from der.core.sealed import read_sealed, write_sealed
from der.pipeline.environment import scratch_root
from der.pipeline.fingerprint import Understood, known_before, understood

FILE = "code.json"  # in the scratch directory


def recall() -> None:
    """Know what the last `keep` knew; nothing if that is not there, or damaged."""
    try:
        known_before.update(msgspec.convert(read_sealed(scratch_root() / FILE), dict[str, Understood]))
    except (DamageError, UserError, msgspec.ValidationError):
        return


def keep() -> None:
    """Keep what this process has read, and no older code; nothing where it cannot be written."""
    try:
        path = scratch_root() / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(path, {key: list(found) for key, found in sorted(understood.items())})
    except (OSError, UserError):
        return
