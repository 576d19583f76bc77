"""Accuracy of one step: scores, breakdowns and the confusion matrix."""
