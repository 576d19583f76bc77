"""Curves in MLflow: `pip install mlflow`, train as below, then `mlflow ui`.

with mlflow.start_run():
    der.DERClassifier(callback=MLflowTracker()).partial_fit(images, labels)
"""

import mlflow

import der


class MLflowTracker(der.Listener):
    """Logs every epoch to MLflow's active run; epochs are counted over all steps."""

    epochs = 0

    def on_epoch(self, record: der.EpochRecord) -> None:
        """Log the numbers of an epoch."""
        self.epochs += 1
        numbers = {name: value for name, value in record._asdict().items() if isinstance(value, float)}
        mlflow.log_metrics(numbers, step=self.epochs)
