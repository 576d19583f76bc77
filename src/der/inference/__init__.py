"""A trained network in use: predicting, and exporting to other programs."""
