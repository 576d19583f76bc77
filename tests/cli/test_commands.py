"""`der export`: the files it writes, and what it refuses."""

import sys
from pathlib import Path

import pytest

from der.cli.main import main


def test_it_says_what_it_wrote(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one format; tests/inference/test_exports_page.py runs them all."""
    main(["export", str(saved), "--format", "safetensors", "--output", "new/ü.safetensors"])
    assert Path("new/ü.safetensors").stat().st_size
    assert capsys.readouterr().out == (
        "new/ü.safetensors: images uint8 (batch, 8, 8, 3) to probabilities float32 (batch, 5), "
        "compared with the network\n"
    )


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_onnx_needs_its_packages(package: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(saved), "--format", "onnx"])
    assert ended.value.code == f"error: ONNX needs {package}; pip install onnx onnxruntime onnxscript"


def test_step_zero_is_not_exported(saved: Path) -> None:
    with pytest.raises(SystemExit, match="which knows no class"):
        main(["export", str(saved.parent / "0"), "--format", "torch"])
    assert not Path("network.pt2").exists()
