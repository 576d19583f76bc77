"""The one error type whose message is written for users."""


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says what and how."""
