"""Pipelines that benches run elsewhere: that their parameters are ones that a run can have."""

from pathlib import Path

import pytest

from bench import many_steps
from bench.photos import memory
from bench.pipeline_copy import copy_pipeline, edit_parameters
from der.pipeline.edits import apply_preset, resize_chain
from der.pipeline.presets import load_settings
from der.pipeline.project import read_params, value_at


@pytest.mark.parametrize(
    ("preset", "values", "steps"),
    [("digits", many_steps.parameters(12, 4), 4), ("photos", memory.LIGHT, 2)],
    ids=["many steps", "photos"],
)
def test_parameters_of_a_copy(
    preset: str, values: dict[str, object], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pipeline"
    copy_pipeline(root)
    many_steps.make_images(root / "data/images", steps * 3)
    monkeypatch.chdir(root)
    apply_preset(preset)
    edit_parameters(root, values | {"protocol.first_classes": 3, "protocol.later_classes": 3})
    assert resize_chain(None) == steps
    load_settings()
    found = read_params()
    assert all(value_at(found, key) == value for key, value in values.items() if "_classes" not in key)
