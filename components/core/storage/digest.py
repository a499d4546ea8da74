"""Content digests: what makes two inputs, outputs or codes the same."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from components.core.errors import UserError
from components.core.storage.memo import digest_files

MANIFEST = ".ganflow.json"
"""The file in a step's output that lists the others; no part of its content."""


def digest_json(value: Any) -> str:
    """SHA-256 (64 hex digits) of a JSON value, independent of key order and white space."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's relative file names and their bytes, through links.

    Times, owners and empty folders do not count, so a copy has its original's digest. Of what may not be read, leads
    nowhere or is no file the name counts alone: the step that needs its content tells, with whatever else is wrong.

    Raises:
        FileNotFoundError: nothing lies at `path`.
        UserError: a link leads back to a folder that it lies in.
    """
    if not path.is_dir():
        return digest_files([path])[0]
    files = _files(path)
    files.pop(MANIFEST, None)
    return _digest(files)


def digest_code(*packages: Path) -> str:
    """SHA-256 of the sources of `packages`, byte code aside: the same in a checkout and in an image."""
    return digest_json([_digest(_sources(package)) for package in packages])


def _sources(package: Path) -> dict[str, os.DirEntry | None]:
    return {name: file for name, file in _files(package).items() if "__pycache__" not in name.split("/")}


def _digest(files: dict[str, os.DirEntry | None]) -> str:
    digests = iter(digest_files([file for file in files.values() if file]))
    return digest_json({name: next(digests) if file else "" for name, file in files.items()})


def _files(folder: Path) -> dict[str, os.DirEntry | None]:
    """What lies below a folder by its name relative to it; None for what is no file that could be read."""
    found: dict[str, os.DirEntry | None] = {}

    def walk(path: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        status = path.stat()
        here = status.st_dev, status.st_ino
        if here in above:
            raise UserError(f"The link {path} leads back to a folder that it lies in; remove it.")
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        walk(Path(entry), f"{prefix}{entry.name}/", above | {here})
                    else:
                        found[prefix + entry.name] = entry if entry.is_file() else None
        except PermissionError:
            found[prefix] = None

    walk(folder, "", frozenset())
    return found
