"""What DER_PROCESSES, DER_DEVICE and torchrun's variables say of this process."""

from collections.abc import Iterator

import pytest
import torch

from der.core import device
from der.core.errors import UserError
from der.pipeline.environment import count_here, count_processes, is_worker, own_rank, set_up_device

# Of the third process on the second of four machines.
SECOND_MACHINE = {
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "16",
    "LOCAL_WORLD_SIZE": "4",
    "RANK": "6",
    "LOCAL_RANK": "2",
}


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many threads torch has, the last; 8 at first, where nothing else is set."""
    for name in (*SECOND_MACHINE, "DER_PROCESSES", "DER_DEVICE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
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


def test_the_place_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (count_processes(), count_here(), own_rank(), is_worker()) == (1, 1, 0, False)
    be(monkeypatch, DER_PROCESSES="3", RANK="6", WORLD_SIZE="16")  # other programs set these, too
    assert (count_processes(), count_here(), own_rank(), is_worker()) == (3, 3, 0, False)
    be(monkeypatch, **SECOND_MACHINE)
    assert (count_processes(), count_here(), own_rank(), is_worker()) == (16, 4, 6, True)


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5", "9999", "²"])
def test_no_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, DER_PROCESSES=text)
    with pytest.raises(UserError, match=r"^DER_PROCESSES: .+ is no number of processes; write 1, 2, ..., or"):
        count_processes()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({"DER_PROCESSES": "4"}, 2), (SECOND_MACHINE, 2), ({"DER_PROCESSES": "4", "OMP_NUM_THREADS": "8"}, 8)],
)
def test_each_has_its_part_of_a_machine_s_threads_unless_they_are_set(
    variables: dict[str, str], expected: int, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    be(monkeypatch, **variables, DER_DEVICE="cpu")
    for _ in range(3):
        set_up_device()
        assert threads[-1] == expected


def test_each_has_a_gpu_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    be(monkeypatch, **SECOND_MACHINE)
    assert set_up_device() == torch.device("cuda", 2) == current[-1]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("cuda", "DER_PROCESSES: 2 processes on this machine, which has 1 GPU; start at most as many"),
        ("mps", "DER_PROCESSES: mps takes one process; set DER_DEVICE to cpu, or unset it"),
    ],
)
def test_too_many_for_the_device(kind: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    be(monkeypatch, DER_PROCESSES="2")
    with pytest.raises(UserError) as caught:
        set_up_device()
    assert str(caught.value) == sentence
