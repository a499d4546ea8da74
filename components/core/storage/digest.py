"""Content digests: what makes two inputs, outputs or codes the same."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MANIFEST = ".ganflow.json"
"""The file in a step's output that lists the others; no part of its content."""

_CHUNK = 1 << 20


def digest_json(value: Any) -> str:
    """SHA-256 (64 hex digits) of a JSON value, independent of key order and white space."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's relative file names and their bytes.

    Times, owners and empty folders do not count, so a copy has its original's digest. Of a folder's file that may not
    be read the name counts alone: the step that needs its content tells, with whatever else is wrong.

    Raises:
        FileNotFoundError: nothing lies at `path`.
    """
    if not path.is_dir():
        return _digest_file(path)
    return _digest_files(path, (file for file in path.rglob("*") if file.is_file() and file != path / MANIFEST))


def digest_code(*packages: Path) -> str:
    """SHA-256 of the sources of `packages`, byte code aside: the same in a checkout and in an image."""
    return digest_json([_digest_files(package, _sources(package)) for package in packages])


def _sources(package: Path) -> Iterable[Path]:
    return (file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _digest_files(root: Path, files: Iterable[Path]) -> str:
    return digest_json({file.relative_to(root).as_posix(): _digest_readable(file) for file in files})


def _digest_readable(path: Path) -> str:
    try:
        return _digest_file(path)
    except PermissionError:
        return ""


def _digest_file(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            content.update(chunk)
    return content.hexdigest()
