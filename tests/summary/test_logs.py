"""Training logs: read as they were written, and refused where they are not whole."""

from pathlib import Path

import pytest

from der.core.errors import UserError
from der.core.sealed import seal
from der.summary.logs import read_logs
from der.train.log import EpochRecord, write_log

LOG_HEAD = "phase,epoch,learning_rate,loss,auxiliary_loss,accuracy\n"
EPOCH = "representation,{},0.1,0.5,0.5,50.25\n"
CUT = "lacks epochs or a part of one; train step 2 again"


def write_logs(folder: Path, steps: int, epochs: int = 3) -> list[Path]:
    """The same log for every step."""
    directories = [folder / str(step) for step in range(1, steps + 1)]
    for directory in directories:
        put(directory, LOG_HEAD + "".join(EPOCH.format(epoch) for epoch in range(1, epochs + 1)))
    return directories


def put(directory: Path, text: str) -> None:
    """Have a directory hold this as its log."""
    directory.mkdir(exist_ok=True)
    (directory / "log.csv").write_text(text)
    seal(directory, {})


def test_logs_are_read_to_the_last_digit(tmp_path: Path) -> None:
    log = [
        EpochRecord(phase, epoch, 0.1**epoch, 1 / 3, 2e-30 / epoch, 100 * epoch / 7)
        for phase in ("representation", "classifier")
        for epoch in (1, 2)
    ]
    write_log(tmp_path / "1", log)
    assert read_logs([tmp_path / "1"]) == [log]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a training log"),
        ("epoch,loss\n1,0.5\n", "cannot be read as a training log"),
        (LOG_HEAD + "representation,1,0.1,much,,50\n", "cannot be read as a training log"),
        (LOG_HEAD, "holds no epoch; train step 2 again"),
        (LOG_HEAD + EPOCH.format(1).strip(), CUT),
        (LOG_HEAD + EPOCH.format(1) + EPOCH.format(2)[:-3], CUT),
        (LOG_HEAD + EPOCH.format(2), CUT),
        (LOG_HEAD + EPOCH.format(1) + EPOCH.format(3), CUT),
        (LOG_HEAD + EPOCH.format(1) + EPOCH.format(1), CUT),
        (LOG_HEAD + EPOCH.format(1).replace("representation", "classifier"), CUT),
        (LOG_HEAD + EPOCH.format(1) + "representation,2\n", "cannot be read as a training log"),
        (LOG_HEAD + EPOCH.format(1) + "\0", CUT),
    ],
)
def test_damaged_training_log_is_named(text: str, message: str, tmp_path: Path) -> None:
    first, log = write_logs(tmp_path, 2)
    put(log, text)
    with pytest.raises(UserError, match=rf"2/log\.csv: {message}") as caught:
        read_logs([first, log])
    assert "\n" not in str(caught.value)


def test_a_log_cut_off_between_two_epochs_is_named(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, 3)
    put(paths[2], "".join((paths[2] / "log.csv").read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"3/log\.csv: 2 epochs, but step 2 has 3; train the shorter"):
        read_logs(paths)
