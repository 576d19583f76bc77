"""Images: where they come from, and which step they belong to."""

SPLITS = ("train", "test")  # names of the folders of training and test images
