"""Classifiers beside other threads, whose torch is their own."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch

import der
from tests.estimator.tiny import noise, state_of, taught, tiny_classifier

Draw = tuple[int, ...]


@contextmanager
def drawing() -> Iterator[list[Draw]]:
    """What another thread draws from torch's own generator while the block runs."""
    found: list[Draw] = []
    ended = Event()

    def draw() -> None:
        while not ended.is_set():
            found.append(tuple(torch.randint(2**31, (4,)).tolist()))
            ended.wait(0.0002)

    thread = Thread(target=draw)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    taught((1, 2), (3,)).save(path)
    return path


CALLS: dict[str, Callable[[Path], object]] = {
    "predict": lambda path: [state_of(der.load(path, device="cpu")) for _ in range(8)],
    "evaluate": lambda path: [der.load(path, device="cpu").evaluate(*noise(1, 2, 3)) for _ in range(4)],
    "learn": lambda path: [tiny_classifier().partial_fit(*noise(1, 2)) for _ in range(3)],
}


@pytest.mark.parametrize("call", CALLS)
def test_draws_of_another_thread_are_all_different(call: str, saved: Path) -> None:
    with drawing() as found:
        while len(found) <= 20:
            CALLS[call](saved)
    assert len(set(found)) == len(found)


def test_threads_that_predict_at_once_leave_torch_as_it_was(saved: Path) -> None:
    model = der.load(saved, device="cpu")
    expected, before = state_of(model), torch.get_deterministic_debug_mode()
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: state_of(der.load(saved, device="cpu")), range(24))]
        found += pool.map(lambda _: state_of(model), range(24))
    assert set(found) == {expected}
    assert torch.get_deterministic_debug_mode() == before == 0


@pytest.mark.parametrize(
    "changes", [{}, {"network__backbone": "tests.train.dropping:dropping", "train__base__epochs": 40}]
)
def test_threads_that_learn_at_once_learn_the_same(changes: dict[str, Any]) -> None:
    """Also where dropout draws from the generator that all threads share."""
    expected = state_of(taught((1, 2), **changes))
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda _: state_of(taught((1, 2), **changes)), range(6))]
    assert set(found) == {expected}
