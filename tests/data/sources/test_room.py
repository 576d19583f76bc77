"""Large pictures wait for one another."""

import threading
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_longlong

import pytest

from der.data.sources import room
from der.data.sources.room import Room, Taken


class Noted(threading.Condition):
    """Tells that someone waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.set()
        return super().wait(timeout)


@pytest.fixture(autouse=True)
def ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_AT_ONCE", 10)


@pytest.mark.parametrize("pixels", [5, 10, 11])
def test_a_picture_waits_until_there_is_room(pixels: int) -> None:
    taken = Taken(c_longlong(), Noted())
    first, second = Room(), Room()  # as of two processes
    first.share(taken)
    second.share(taken)
    done = []

    def decode() -> None:
        with second.taking(pixels):
            done.append(pixels)

    with ThreadPoolExecutor(1) as other:
        with first.taking(2), first.taking(4):
            decoded = other.submit(decode)
            assert taken.changed.waited.wait(timeout=30)  # type: ignore[union-attr]
            assert not done
        decoded.result()
    assert done == [pixels]


def test_what_fits_does_not_wait() -> None:
    taken = Taken(c_longlong(), Noted())
    one = Room()
    one.share(taken)
    with one.taking(6), one.taking(4):
        assert taken.pixels.value == 10
    with one.taking(10**9):
        assert taken.pixels.value == 10
    assert taken.pixels.value == 0
    assert not taken.changed.waited.is_set()  # type: ignore[union-attr]


def test_room_is_given_back_where_decoding_fails() -> None:
    taken = Taken(c_longlong(), Noted())
    one = Room()
    one.share(taken)
    with pytest.raises(ValueError, match="damaged"), one.taking(9):
        raise ValueError("damaged")
    assert taken.pixels.value == 0
