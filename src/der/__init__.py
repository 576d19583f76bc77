"""Dynamically Expandable Representation for class-incremental learning (Yan, Xie, He; CVPR 2021).

``__all__`` lists the public names. Each is imported at its first use, because torch takes a second to import.
__init__.pyi has the types. Modules are named as text here, because an import would make the whole library
part of every stage's code.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "der.core.errors": ["UserError"],
    "der.estimator.choices": ["presets"],
    "der.estimator.classifier": ["DERClassifier", "load"],
    "der.evaluation.results": ["StepMetrics"],
    "der.inference.predictor": ["Predictor", "load_predictor"],
    "der.settings.experiment": ["Settings", "preset", "read_settings"],
    "der.train.log": ["EpochRecord", "Listener", "Progress"],
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Only now: every stage would wait for it.
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("der-pipeline")
        except PackageNotFoundError:  # run from a clone
            return "not installed"
    if name not in _PLACES:
        raise AttributeError(f"module 'der' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*(name for name in globals() if name not in ("Any", "import_module")), *__all__]
