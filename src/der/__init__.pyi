from der.core.errors import UserError as UserError
from der.estimator.choices import presets as presets
from der.estimator.classifier import DERClassifier as DERClassifier
from der.estimator.classifier import load as load
from der.evaluation.results import StepMetrics as StepMetrics
from der.inference.predictor import Predictor as Predictor
from der.inference.predictor import load_predictor as load_predictor
from der.settings.experiment import Settings as Settings
from der.settings.experiment import preset as preset
from der.settings.experiment import read_settings as read_settings
from der.train.log import EpochRecord as EpochRecord
from der.train.log import Listener as Listener
from der.train.log import Progress as Progress

__version__: str

__all__ = [
    "DERClassifier",
    "EpochRecord",
    "Listener",
    "Predictor",
    "Progress",
    "Settings",
    "StepMetrics",
    "UserError",
    "load",
    "load_predictor",
    "preset",
    "presets",
    "read_settings",
]
