"""How a program ends with what users can mend."""

import errno
import os

import pytest

from der.core.errors import UserError, ending_in_a_sentence


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("params.yaml: no such key"), "error: params.yaml: no such key"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.npy"), "error: a.npy: No space left on device"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "error: files: No space left on device"),
        (OSError("odd"), "error: files: odd"),
        (UserError("a\nb.png: no picture"), r"error: a\nb.png: no picture"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "a\nb"), r"error: a\nb: Permission denied"),
        (KeyboardInterrupt(), "stopped"),
    ],
)
def test_it_ends_in_one_line(error: BaseException, sentence: str) -> None:
    with pytest.raises(SystemExit) as ended, ending_in_a_sentence("stopped"):
        raise error
    assert ended.value.code == sentence  # written to stderr, and status 1


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="ours"), ending_in_a_sentence("stopped"):
        raise ValueError("ours")


def test_without_an_error_nothing_ends() -> None:
    with ending_in_a_sentence("stopped"):
        done = True
    assert done
