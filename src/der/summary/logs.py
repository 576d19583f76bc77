"""The training logs of all steps."""

import csv
from collections.abc import Iterable
from pathlib import Path

from der.core.errors import UserError
from der.core.sealed import SealedDirectory
from der.train.log import LOG, REPRESENTATION, EpochRecord


def read_logs(directories: Iterable[Path]) -> list[list[EpochRecord]]:
    """The records of steps 1, 2, ...; a value that a log leaves empty is NaN.

    Raises UserError naming a file that is missing, damaged or cut off: epochs count up from 1 in every
    phase, and steps after the first have the same ones.
    """
    paths = [SealedDirectory(directory).file(LOG) for directory in directories]
    logs = [_read_log(path, step) for step, path in enumerate(paths, start=1)]
    for path, log in zip(paths[2:], logs[2:], strict=True):
        if [record.phase for record in log] != [record.phase for record in logs[1]]:
            raise UserError(
                f"{path}: {len(log)} epochs, but step 2 has {len(logs[1])}; train the shorter step again"
            )
    return logs


def _read_log(path: Path, step: int) -> list[EpochRecord]:
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        log = _parse_log(whole)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a training log ({error})") from None
    if whole == text and not log:
        raise UserError(f"{path}: holds no epoch; train step {step} again")
    if whole != text or log[0].phase != REPRESENTATION or not _counts_up(log):
        raise UserError(f"{path}: lacks epochs or a part of one; train step {step} again")
    return log


def _parse_log(text: str) -> list[EpochRecord]:
    """The records of whole lines; raises ValueError for others than ``write_log``'s."""
    head, *rows = csv.reader(text.splitlines() or [""])
    if tuple(head) != EpochRecord._fields:
        raise ValueError(f"its first line is not {','.join(EpochRecord._fields)}")
    return [_parse_record(row) for row in rows]


def _parse_record(row: list[str]) -> EpochRecord:
    if len(row) != len(EpochRecord._fields):
        raise ValueError(f"{len(row)} values in a line")
    phase, epoch, *numbers = row
    rate, loss, auxiliary, accuracy = (float(number or "nan") for number in numbers)
    return EpochRecord(phase, int(epoch), rate, loss, auxiliary, accuracy)


def _counts_up(log: list[EpochRecord]) -> bool:
    """Whether epochs count up from 1 in every phase."""
    last: dict[str, int] = {}
    for record in log:
        if record.epoch != last.get(record.phase, 0) + 1:
            return False
        last[record.phase] = record.epoch
    return True
