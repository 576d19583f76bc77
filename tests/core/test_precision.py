"""Precisions: torch's dtypes by name, and what is refused under the parameter's own name."""

import pytest
import torch
from der.core.precision_names import PRECISIONS

from der.core.device import choose_precision
from der.core.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_names_are_those_of_dtypes() -> None:
    found = [choose_precision(name, CPU, "train.precision") for name in PRECISIONS]
    assert found == [torch.float32, torch.bfloat16]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"^train\.precision: 'float16' does not fit; write float32 or bfl"):
        choose_precision("float16", CPU, "train.precision")


def test_bfloat16_needs_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability in ((7, 5), (8, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert choose_precision("float32", CUDA, "train.precision") == torch.float32
    assert choose_precision("bfloat16", CUDA, "train.precision") == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UserError, match=r"^train\.precision: this GPU has no bfloat16; write float32$"):
        choose_precision("bfloat16", CUDA, "train.precision")
