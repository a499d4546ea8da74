"""Checkpoints: what a training needs to go on, kept where a retried job finds it."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from components.core.errors import UserError
from components.core.storage.state import state_dir

if TYPE_CHECKING:
    from components.core.storage.s3 import S3Folder


class Checkpoints:
    """The checkpoints of one fingerprint, by name; a write replaces one whole or not at all.

    They lie under `$CHECKPOINT_URI` (a folder or `s3://bucket/prefix`), else under the state folder, so that a retried
    job finds its own.

    Raises:
        UserError: the address is neither; by every method, S3 does not do as it is asked.
    """

    def __init__(self, fingerprint: str) -> None:
        root = os.environ.get("CHECKPOINT_URI") or str(state_dir() / "checkpoints")
        self._files = _files(f"{root}/{fingerprint}")

    def read(self, name: str) -> bytes | None:
        """A checkpoint's bytes, None where there is none of that name."""
        return self._files.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Replace a checkpoint atomically; it is safe from a crash when this returns."""
        self._files.write(name, content)

    def remove(self) -> None:
        """Forget all checkpoints of the fingerprint."""
        self._files.remove()


class _Files(Protocol):
    """Files by name, in a folder of any kind."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, content: bytes) -> None: ...

    def remove(self) -> None: ...


def _files(uri: str) -> _Files:
    if uri.startswith("s3://"):
        from components.core.storage.s3 import S3Folder

        return _Objects(S3Folder(uri))
    if "://" in uri:
        raise UserError(f"Checkpoints cannot be kept at {uri}; set CHECKPOINT_URI to a folder or s3://bucket/prefix.")
    return _LocalFolder(Path(uri))


class _Objects:
    """Files of a folder on S3."""

    def __init__(self, folder: "S3Folder") -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        return self._folder.read(name)

    def write(self, name: str, content: bytes) -> None:
        with tempfile.NamedTemporaryFile() as stream:
            stream.write(content)
            stream.flush()
            self._folder.upload(Path(stream.name), name)

    def remove(self) -> None:
        self._folder.delete(entry.name for entry in self._folder.list())


class _LocalFolder:
    """Files of a folder on this machine, which is made when the first is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes | None:
        path = self._path / name
        return path.read_bytes() if path.exists() else None

    def write(self, name: str, content: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        partial = self._path / f"{name}.partial"
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self._path / name)

    def remove(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
