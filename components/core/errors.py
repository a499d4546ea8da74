"""Failures that are the user's to mend."""


class UserError(Exception):
    """A failure told as one clear sentence that says what to do; the command exits with `exit_code`, no traceback."""

    exit_code = 2
    """What was asked for cannot be done: bad input, or a server that is away or refuses."""


class TaskFailure(UserError):
    """Something failed on the way, such as a task of a run: what was asked for could be done."""

    exit_code = 1


class Collapse(UserError):
    """A GAN's training went wrong in a way that it does not come back from, or made images that are none."""
