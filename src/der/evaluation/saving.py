"""What is left of a step's evaluation: a sealed directory of metrics, confusion matrix,
predictions and mistakes."""

from pathlib import Path

from der.core.files import write_json
from der.core.sealed import sealed_directory
from der.evaluation.confusion import write_confusion
from der.evaluation.evaluate import Evaluation
from der.evaluation.metrics import METRICS
from der.evaluation.mistakes import write_mistakes
from der.evaluation.predictions import write_predictions


def save_evaluation(path: Path, evaluation: Evaluation, names: list[str]) -> None:
    """Make the directory ``path``; ``names`` are the classes' in label order."""
    with sealed_directory(path) as directory:
        write_json(directory / METRICS, evaluation.metrics)
        write_confusion(directory, evaluation.confusion, names)
        write_predictions(directory, evaluation.predictions)
        write_mistakes(directory, evaluation.mistakes)
