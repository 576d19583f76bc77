"""Dynamically Expandable Representation for class-incremental learning (Yan, Xie, He; CVPR 2021).

What is public is listed in ``__all__`` and imported when it is first asked for: torch costs a second. Types
stand in __init__.pyi. Here modules are named as text, for an import would make all of the library part of
the code of every stage.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "DERClassifier": "der.estimator.classifier",
    "EpochRecord": "der.train.log",
    "Listener": "der.train.log",
    "Predictor": "der.inference.predictor",
    "Progress": "der.train.log",
    "Settings": "der.settings.experiment",
    "StepMetrics": "der.evaluation.results",
    "UserError": "der.core.errors",
    "load": "der.estimator.classifier",
    "load_predictor": "der.inference.predictor",
    "preset": "der.settings.experiment",
    "read_settings": "der.settings.experiment",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'der' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*(name for name in globals() if name not in ("Any", "import_module")), *__all__]
