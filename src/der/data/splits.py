"""Training and test images, by the names of their folders."""

SPLITS = ("train", "test")
