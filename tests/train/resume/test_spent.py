"""What an interrupted training has cost: the seconds of all its parts, told by a clock of the test's own."""

import pytest

from der.core.sealed import sealed_directory
from der.core.work_clock import Spent, WorkClock, waiting
from der.train.resume import SPENT
from tests.train.hand import Hand
from tests.train.resume.sandbox import Sandbox, keep, make_saved, save


def test_the_seconds_of_all_parts_count(sandbox: Sandbox, hand: Hand) -> None:
    for seconds in (10.0, 7.0):  # two runs that are killed after a save
        clock = WorkClock()
        hand.now += 1  # until the store opens
        with sandbox.open(clock=clock) as store:
            hand.now += seconds - 1
            keep(store, 1)
            hand.now += 0.5  # lost: trained again after the kill
    clock = WorkClock()
    with sandbox.open(clock=clock) as store:
        hand.now += 3
    assert clock.spent() == Spent(20.0, 3)


def test_a_finished_training_that_runs_again_counts_whole(sandbox: Sandbox, hand: Hand) -> None:
    checkpoint = sandbox.root / "checkpoint"
    with sealed_directory(checkpoint) as directory:
        (directory / "head").write_bytes(b"head")
    with sandbox.open(clock=WorkClock()) as store:
        hand.now += 10
        keep(store, 1)
        hand.now += 2  # until the checkpoint is written
        store.finish(checkpoint)
    clock = WorkClock()
    with sandbox.open(clock=clock):
        hand.now += 1
    assert clock.spent() == Spent(13.0, 2)


def test_waiting_for_another_process_does_not_count(hand: Hand) -> None:
    clock = WorkClock()
    hand.now += 1
    with waiting():
        hand.now += 38
    later = WorkClock()
    hand.now += 1
    clock.go_on(Spent(5.0, 1))
    assert (clock.spent(), later.spent()) == (Spent(7.0, 2), Spent(1.0, 1))


def test_the_store_tells_the_clock_how_long_it_waited(
    sandbox: Sandbox, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    from der.train.resume import store

    usual = store.working_in

    def late(*arguments: object) -> object:
        hand.now += 38
        return usual(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "working_in", late)
    clock = WorkClock()
    with sandbox.open(clock=clock):
        hand.now += 2
    assert clock.spent() == Spent(2.0, 1)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'["a", "b"]', b"\xff", b"null"])
def test_what_tells_nothing_counts_nothing(sandbox: Sandbox, hand: Hand, content: bytes) -> None:
    with sandbox.open() as store:
        hand.now += 10
        keep(store, 1)
    (store.directory / SPENT).write_bytes(content)
    clock = WorkClock()
    with sandbox.open(clock=clock):
        hand.now += 1
    assert clock.spent() == Spent(1.0, 1)


def test_epochs_are_counted_over_phases_and_parts(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        keep(store, 3, "representation")
    clock = WorkClock()
    with sandbox.open(clock=clock) as store:
        assert store.load("representation") is not None
        assert clock.epochs == {"representation": 3}
        for epochs in (4, 5):
            keep(store, epochs, "representation")
        store.save("classifier", make_saved(2).records, lambda: make_saved(2).state, last=True)
        save(store, 3, "classifier", last=False)  # perhaps not written, but trained
    assert clock.epochs == {"representation": 5, "classifier": 3}
