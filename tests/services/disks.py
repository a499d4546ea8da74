"""Full disks."""

import contextlib
from pathlib import Path


def fill(path: Path) -> None:
    """Let a file take all the room there is."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
