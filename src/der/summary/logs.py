"""The training logs of all steps as one table."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from der.common.errors import UserError

REPRESENTATION = "representation"  # the phase that every step has
COLUMNS = ["phase", "epoch", "learning_rate", "loss", "auxiliary_loss", "accuracy"]


def read_logs(paths: Iterable[Path]) -> pd.DataFrame:
    """Rows of the logs of steps 1, 2, ..., with column step before the logs' own.

    Raises UserError naming a file that is missing or damaged.
    """
    return pd.concat([_read_log(path, step) for step, path in enumerate(paths, start=1)])


def _read_log(path: Path, step: int) -> pd.DataFrame:
    types = {**dict.fromkeys(COLUMNS, np.float64), "epoch": np.int64, "phase": str}
    try:
        # By way of text, which some versions of pandas need for exact floats.
        log = pd.read_csv(path, dtype=str).astype(types)
    except (OSError, ValueError, KeyError) as error:  # KeyError: a column is missing
        raise UserError(f"{path}: cannot be read as a training log ({str(error).strip()})") from None
    if log.empty:
        raise UserError(f"{path}: holds no epoch; train step {step} again")
    log.insert(0, "step", step)
    return log
