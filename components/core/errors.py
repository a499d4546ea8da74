"""Failures that are the user's to mend."""


class UserError(Exception):
    """A failure told as one clear sentence that says what to do; the command exits with code 2, no traceback."""
