"""What this process is among others: by DER_PROCESSES, and by torchrun on several machines."""

from collections.abc import Iterator

import pytest
import torch

from der.core import device
from der.core.errors import UserError
from der.pipeline.environment import (
    PARENT,
    count_here,
    count_processes,
    is_member,
    launcher,
    local_rank,
    own_rank,
    set_up_device,
)

# Of the third process on the second of four machines.
SECOND_MACHINE = {
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "16",
    "LOCAL_WORLD_SIZE": "4",
    "RANK": "6",
    "LOCAL_RANK": "2",
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECOND_MACHINE, "DER_PROCESSES", "DER_RANK", PARENT, "DER_DEVICE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many torch has, the last; 8 at first."""
    found = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: found[-1])
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(device, "reuse_freed_memory", lambda: None)
    monkeypatch.setattr(device, "make_deterministic", lambda: None)
    device.threads_at_start.cache_clear()
    yield found
    device.threads_at_start.cache_clear()


def be(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)


def test_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, **SECOND_MACHINE, DER_PROCESSES="3")
    assert (count_processes(), count_here(), own_rank(), local_rank()) == (16, 4, 6, 2)
    assert is_member() and launcher() == "torchrun"


def test_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (count_processes(), count_here(), own_rank(), local_rank(), is_member()) == (1, 1, 0, 0, False)
    be(monkeypatch, DER_PROCESSES="3", DER_RANK="1", WORLD_SIZE="16", LOCAL_WORLD_SIZE="4", RANK="6")
    assert (count_processes(), count_here(), own_rank(), local_rank(), is_member()) == (3, 3, 1, 1, True)


@pytest.mark.parametrize(
    "variables", [{"DER_PROCESSES": "4"}, SECOND_MACHINE], ids=["one", "several machines"]
)
def test_each_has_its_share_of_a_machine_s_threads_in_every_stage(
    variables: dict[str, str], threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    be(monkeypatch, **variables, DER_DEVICE="cpu")
    for _ in range(3):
        set_up_device()
        assert threads[-1] == 2


def test_threads_that_are_set_stay(threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, DER_PROCESSES="4", DER_DEVICE="cpu", OMP_NUM_THREADS="8")
    set_up_device()
    assert threads == [8]


def test_the_first_process_says_that_there_are_too_few_gpus(
    threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    be(monkeypatch, DER_PROCESSES="2")
    with pytest.raises(UserError) as caught:
        set_up_device()
    assert str(caught.value) == (
        "DER_PROCESSES: 2 processes on this machine, which has 1 GPU; start at most as many"
    )


def test_each_has_a_gpu_of_its_machine(threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    be(monkeypatch, **SECOND_MACHINE)
    assert set_up_device() == torch.device("cuda", 2) == current[-1]
