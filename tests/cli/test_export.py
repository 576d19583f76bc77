"""`der export`: the files it writes, and what it refuses."""

from pathlib import Path

import pytest

from der.cli.main import main
from der.model.checkpoint import save_checkpoint, save_empty_checkpoint
from tests.builders import random_checkpoint


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_empty_checkpoint(tmp_path / "0")
    save_checkpoint(tmp_path / "1", random_checkpoint([5]), tmp_path / "0")
    return tmp_path / "1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["--format", "torch"], "network.pt2"),
        (["--format", "onnx"], "network.onnx"),
        (["--format", "safetensors"], "network.safetensors"),
        (["--format", "onnx", "--output", "new/ü.onnx"], "new/ü.onnx"),
    ],
)
def test_command(words: list[str], file: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", str(saved), *words])
    assert Path(file).stat().st_size
    assert capsys.readouterr().out == (
        f"{file}: images uint8 (batch, 8, 8, 3) to probabilities float32 (batch, 5), "
        "compared with the network\n"
    )


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_onnx_needs_its_packages(package: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(saved), "--format", "onnx"])
    assert ended.value.code == f"error: ONNX needs {package}; pip install onnx onnxruntime onnxscript"


def test_step_zero_is_not_exported(saved: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(saved.parent / "0"), "--format", "torch"])
    assert "which knows no class" in str(ended.value.code)
    assert not Path("network.pt2").exists()
