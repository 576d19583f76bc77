"""The pipeline: the project's files, DVC, and the frame of stages."""

MEND = "run `der verify --repair`, then `dvc repro`"  # what to do about damage
