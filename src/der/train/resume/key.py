"""Under which key training state is kept."""

import hashlib
import json


def state_key(settings: object, inputs: list[str], fingerprint: str, arithmetic: list[str]) -> str:
    """A hash of all that a training depends on, fit for the name of a directory.

    ``settings`` are what JSON can hold; ``inputs`` the digests of the directories that it reads;
    ``fingerprint`` is that of the code; ``arithmetic`` decides on the bits of sums,
    der.core.device.name_arithmetic.
    """
    return hashlib.sha256(json.dumps([settings, inputs, fingerprint, arithmetic]).encode()).hexdigest()
