"""The process of the command `ganflow`: it obeys signals from its first moment on, and tells failures in sentences."""

import errno
import gc
import os
import sys

from components.core.errors import TaskFailure, UserError
from components.core.signals import obey
from pipelines.interruption import telling

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)


def main() -> None:
    """Run the command line; a `UserError`, or a disk that does not take what is written, becomes a sentence."""
    obey()
    gc.set_threshold(10_000)  # Python's 700 cost a tenth of importing torch or MLflow, which is most of a short step
    with telling():
        from pipelines.cli import app  # imports much

        try:
            app()
        except (UserError, OSError) as error:
            told = error if isinstance(error, UserError) else _of_the_disk(error)
            if told is None or os.environ.get("GANFLOW_DEBUG"):
                raise
            print(f"ganflow: {told}", file=sys.stderr)
            sys.exit(told.exit_code)


def _of_the_disk(error: OSError) -> UserError | None:
    """What the user can do about files that cannot be written; None for any other error."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return TaskFailure(f"{error.strerror}{where}; make room and run again: what is finished is kept.")
    if error.errno in _REFUSED:
        return UserError(f"{error.strerror}{where}; choose another place, or change whose it is.")
    return None


if __name__ == "__main__":
    main()
