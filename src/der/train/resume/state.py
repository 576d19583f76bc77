"""What a phase of training needs to go on, as bytes that tell whether they are whole."""

import hashlib
import json
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from der.train.log import EpochRecord

DIGEST = hashlib.sha256().digest_size
LENGTH = 8  # bytes of the number of bytes of the records


class Saved(NamedTuple):
    """What a phase of training needs to go on after an epoch."""

    records: list[EpochRecord]  # of the epochs done
    state: Tensor  # flat float32, as of Engine.pack


def serialize(saved: Saved) -> list[bytes | memoryview]:
    """The bytes of a file, in parts: SHA-256 of all that follows, length of the records, records, state."""
    text = json.dumps(saved.records).encode()
    # The state as it lies in memory: hashing and writing it leave other threads running.
    state = saved.state.numpy().data.cast("B")
    parts: list[bytes | memoryview] = [len(text).to_bytes(LENGTH, "little"), text, state]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return [digest.digest(), *parts]


def deserialize(content: bytes) -> Saved | None:
    """What ``serialize`` made bytes of; None if they are not whole."""
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return None
    start = DIGEST + LENGTH + int.from_bytes(content[DIGEST : DIGEST + LENGTH], "little")
    records = [EpochRecord(*record) for record in json.loads(content[DIGEST + LENGTH : start])]
    return Saved(records, torch.from_numpy(np.frombuffer(content, np.float32, offset=start).copy()))
