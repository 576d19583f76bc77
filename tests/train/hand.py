"""A clock that the test moves."""


class Hand:
    """Its hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
