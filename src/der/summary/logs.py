"""The training logs of all steps as one table."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from der.common.errors import UserError

REPRESENTATION = "representation"  # the phase that every step has
COLUMNS = ["phase", "epoch", "learning_rate", "loss", "auxiliary_loss", "accuracy"]


def read_logs(paths: Iterable[Path]) -> pd.DataFrame:
    """Rows of the logs of steps 1, 2, ..., with column step before the logs' own.

    Raises UserError naming a file that is missing, damaged or cut off: epochs count up from 1 in every
    phase, and steps after the first have the same ones.
    """
    paths = list(paths)
    logs = [_read_log(path, step) for step, path in enumerate(paths, start=1)]
    for path, log in zip(paths[2:], logs[2:], strict=True):
        if log["phase"].tolist() != logs[1]["phase"].tolist():
            raise UserError(
                f"{path}: {len(log)} epochs, but step 2 has {len(logs[1])}; train the shorter step again"
            )
    return pd.concat(logs)


def _read_log(path: Path, step: int) -> pd.DataFrame:
    types = {**dict.fromkeys(COLUMNS, np.float64), "epoch": np.int64, "phase": str}
    try:
        # By way of text, which some versions of pandas need for exact floats.
        text = path.read_text(encoding="utf-8")
        log = pd.read_csv(StringIO(text), dtype=str).astype(types)
    except (OSError, ValueError, KeyError) as error:  # KeyError: a column is missing
        raise UserError(f"{path}: cannot be read as a training log ({str(error).strip()})") from None
    if log.empty:
        raise UserError(f"{path}: holds no epoch; train step {step} again")
    epochs = log.groupby("phase").cumcount() + 1
    if not text.endswith("\n") or log["phase"].iloc[0] != REPRESENTATION or (log["epoch"] != epochs).any():
        raise UserError(f"{path}: lacks epochs or a part of one; train step {step} again")
    log.insert(0, "step", step)
    return log
