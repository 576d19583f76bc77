"""The choice of device and precision, determinism, and the reuse of memory."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from der.core.device import (
    choose_device,
    choose_precision,
    flushes_denormals,
    make_deterministic,
    reproducible,
)
from der.core.errors import UserError


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "override", "expected"),
    [
        *((True, True, none, "cuda") for none in (None, "")),
        *((cuda, mps, None, best) for cuda, mps, best in ((False, True, "mps"), (False, False, "cpu"))),
        *((True, True, named, named) for named in ("cpu", "cuda", "cuda:1", "mps")),
        *((False, False, named, None) for named in ("cuda", "cuda:1", "mps")),
    ],
)
def test_the_best_there_is_unless_one_is_named(
    cuda: bool, mps: bool, override: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    if expected is not None:
        assert str(choose_device(override)) == expected
        return
    with pytest.raises(UserError, match=f"^'{override}' is not available on this machine; write cpu, or no"):
        choose_device(override)


@pytest.mark.parametrize("override", ["gpu", "CUDA", "cuda:x", "meta", "xpu", " ", 0, 1, 3.5, False, ["cpu"]])
def test_what_is_no_device(override: object, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True, mps=True)
    with pytest.raises(UserError, match=f"^{re.escape(repr(override))} is no device; write cuda, mps or cpu"):
        choose_device(override)


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_bfloat16_needs_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability in ((7, 5), (8, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert choose_precision("float32", CUDA, "train.precision") == torch.float32
    assert choose_precision("bfloat16", CUDA, "train.precision") == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UserError, match=r"^train\.precision: this GPU has no bfloat16; write float32$"):
        choose_precision("bfloat16", CUDA, "train.precision")


@pytest.fixture
def torch_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what ``make_deterministic`` changes for the whole process."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    tf32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("torch_state")
def test_operations_without_a_deterministic_form_are_refused() -> None:
    make_deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("torch_state")
def test_the_last_thread_to_leave_puts_the_modes_back() -> None:
    """The first in is the first out, and what it leaves behind is still deterministic."""
    torch.set_deterministic_debug_mode("default")
    torch.set_flush_denormal(False)
    both_in, first_out = Barrier(2, timeout=60), Barrier(2, timeout=60)

    def first() -> tuple[bool, bool]:
        with reproducible():
            both_in.wait()
            within = flushes_denormals()
        first_out.wait()
        return within, flushes_denormals()

    def second() -> tuple[bool, bool]:
        with reproducible():
            both_in.wait()
            first_out.wait()
            assert torch.get_deterministic_debug_mode() == 2 and not torch.backends.cudnn.benchmark
            within = flushes_denormals()
        return within, flushes_denormals()

    with ThreadPoolExecutor(2) as pool:
        assert [one.result() for one in [pool.submit(first), pool.submit(second)]] == [(True, False)] * 2
    assert torch.get_deterministic_debug_mode() == 0 and torch.backends.cudnn.benchmark
