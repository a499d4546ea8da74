"""Where files live that outlast a step."""

import os
from pathlib import Path


def state_dir() -> Path:
    """The folder of checkpoints, journals and caches: `$GANFLOW_HOME`, else `.ganflow` in the current folder."""
    return Path(os.environ.get("GANFLOW_HOME", ".ganflow")).absolute()
