"""Where files live that outlast a step: the state folder and the checkpoints in it."""

import os
import shutil
from pathlib import Path


def state_dir() -> Path:
    """The folder of checkpoints, journals and caches: `$GANFLOW_HOME`, else `.ganflow` in the current folder."""
    return Path(os.environ.get("GANFLOW_HOME", ".ganflow")).absolute()


class Checkpoints:
    """The checkpoints of one fingerprint, by name; a write replaces one whole or not at all.

    They lie under `$CHECKPOINT_URI` (a folder), else under the state folder, so that a retried job finds its own.
    """

    def __init__(self, fingerprint: str) -> None:
        root = os.environ.get("CHECKPOINT_URI")
        self._folder = (Path(root) if root else state_dir() / "checkpoints") / fingerprint

    def read(self, name: str) -> bytes | None:
        """A checkpoint's bytes, None where there is none of that name."""
        path = self._folder / name
        return path.read_bytes() if path.exists() else None

    def write(self, name: str, content: bytes) -> None:
        """Replace a checkpoint atomically; it is flushed to the disk first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"{name}.partial"
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self._folder / name)

    def remove(self) -> None:
        """Forget all checkpoints of the fingerprint."""
        shutil.rmtree(self._folder, ignore_errors=True)
