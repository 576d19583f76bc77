"""Applies the overrides of `dvc exp run -S`, read by DVC itself, to the values of params.yaml."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from der.core.errors import UserError
from der.pipeline.params import read_params
from der.pipeline.paths import PARAMS


def expand_rows(overrides: Sequence[str]) -> list[list[str]]:
    """Expand the overrides of `dvc exp run -S` to rows, one for every combination of values.

    "train.seed=1,2" makes two rows. DVC itself reads the overrides; raises UserError if it cannot.
    """
    from dvc.utils.hydra import get_hydra_sweeps

    if not overrides:
        return [[]]
    with _understood(overrides):
        return [row[str(PARAMS)] for row in get_hydra_sweeps({str(PARAMS): list(overrides)})]


def apply_row(row: Sequence[str]) -> dict[str, Any]:
    """Return the values of params.yaml with the overrides of a row; the file does not change."""
    from dvc.utils.hydra import apply_overrides

    if not row:
        return read_params()
    with TemporaryDirectory() as directory, _understood(row):
        copy = Path(shutil.copy(PARAMS, directory))
        apply_overrides(copy, list(row))
        return read_params(copy)


@contextmanager
def _understood(words: Sequence[str]) -> Iterator[None]:
    from dvc.exceptions import DvcException
    from hydra.errors import HydraException  # DVC brings it

    try:
        yield
    except (DvcException, HydraException, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"-S {' -S '.join(words)}: not understood ({reason}); write KEY=VALUE, with a key of {PARAMS}"
        ) from None
