"""Datasets by content hash: fetched from S3, or from a DVC remote on it, and filed under their digest.

There are two kinds of source: `s3://bucket/prefix`, whose digest is that of its listing, and `dvc+s3://bucket/folder`,
the objects of a DVC remote, whose digest is DVC's own of a folder: the MD5 of its manifest, and `.dir`.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from filelock import FileLock

from components.core.errors import UserError
from components.core.storage.digest import digest_json
from components.core.storage.download import File, download
from components.core.storage.s3 import Absent, Changed, Entry, S3Folder

S3 = "s3://"
DVC = "dvc+s3://"

_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}\.dir")
_LONGEST_NAME = 255


def digest_listing(uri: str) -> str:
    """SHA-256 of the names, sizes and ETags below `s3://bucket/prefix`.

    Raises:
        UserError: nothing lies there, or nobody lets us look.
    """
    return _digest(_list(S3Folder(uri)))


def fetch_dataset(source: str, digest: str, folder: Path) -> Path:
    """The folder `folder/digest`, fetched if it is not there; of several processes that ask, one fetches.

    What an interrupted attempt left is built upon; the folder gets its name when every file in it is checked.

    Raises:
        UserError: the source is unknown, changed, damaged or out of reach, or a name in it leads out of the folder.
    """
    if not _DIGEST.fullmatch(digest) or not source.startswith((S3, DVC)):
        raise UserError(f"Data cannot be fetched from {source} with the digest {digest}; submit the pipeline again.")
    final = folder / digest
    if final.exists():  # whoever fetched it, and may write there
        return final
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{digest}.lock"):
            if not final.exists():
                _fill(source, digest, folder / f".{digest}.partial", final)
    except OSError as error:
        raise UserError(
            f"The data cannot be written to {folder} ({error.strerror}); make room or set GANFLOW_HOME to another disk."
        ) from error
    return final


def _fill(source: str, digest: str, target: Path, final: Path) -> None:
    root = S3Folder(source.removeprefix("dvc+"))
    files = _dvc_files(root, digest) if source.startswith(DVC) else _s3_files(root, digest)
    _check_names(file.name for file in files)
    _remove_strangers(target, files)
    for parent in {(target / file.name).parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)
    try:
        download(files, root, target)
    except Absent as absent:
        raise _changed(root) if source.startswith(S3) else _missing(root, str(absent)) from absent
    except Changed as changed:
        if source.startswith(DVC):
            raise
        raise _changed(root) from changed
    os.sync()  # else a power cut might leave empty files under the name of whole ones
    target.replace(final)


def _s3_files(root: S3Folder, digest: str) -> list[File]:
    entries = _list(root)
    if _digest(entries) != digest:
        raise _changed(root)
    return [File(entry.name, entry.name, etag=entry.etag) for entry in entries]


def _dvc_files(root: S3Folder, digest: str) -> list[File]:
    """The files that the manifest of a folder names; the manifest's MD5 is the digest."""
    name = _object(digest)
    for _ in range(2):  # once it may be the line
        manifest = root.read(name)
        if manifest is None:
            raise _missing(root, name)
        if hashlib.md5(manifest, usedforsecurity=False).hexdigest() == digest.removesuffix(".dir"):
            break
    else:
        raise UserError(f"DVC's manifest {root.uri}/{name} is damaged; remove it there and `dvc push` again.")
    try:
        files = [File(each["relpath"], _object(each["md5"]), md5=each["md5"]) for each in json.loads(manifest)]
        assert all(re.fullmatch("[0-9a-f]{32}", file.md5) and isinstance(file.name, str) for file in files)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise UserError(f"{root.uri}/{name} is no manifest of DVC; `dvc add` and `dvc push` the data again.") from error
    return files


def _object(md5: str) -> str:
    """Where a DVC remote keeps the content of a digest."""
    return f"{md5[:2]}/{md5[2:]}"


def _list(root: S3Folder) -> list[Entry]:
    entries = root.list()
    if not entries:
        raise UserError(f"There is nothing below {root.uri}; check the address.")
    return entries


def _digest(entries: list[Entry]) -> str:
    return digest_json([[entry.name, entry.size, entry.etag] for entry in entries])


def _check_names(names: Iterable[str]) -> None:
    """Refuse names that lead out of the folder they are relative to, or that cannot lie side by side in one."""
    seen: set[str] = set()
    parents: set[str] = set()
    for name in names:
        if not _is_safe(name):
            raise UserError(f"The data has a file named {name!r}, which is no name within a folder; rename it.")
        if name in seen:
            raise UserError(f"The data has two files named {name!r}; remove one.")
        seen.add(name)
        parents |= {parent.as_posix() for parent in PurePosixPath(name).parents}
    if both := sorted(seen & parents):
        raise UserError(f"The data has {both[0]!r} as a file and as a folder; rename one.")


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    encodable = name.encode(errors="ignore").decode() == name
    plain = not any(part in ("", ".", "..") or len(part.encode(errors="ignore")) > _LONGEST_NAME for part in parts)
    return encodable and plain and "\\" not in name and "\0" not in name


def _remove_strangers(target: Path, files: list[File]) -> None:
    """Remove links, and files that are none of ours, from what an earlier attempt left."""
    ours = {target / file.name for file in files}
    for path in sorted(target.rglob("*")):
        if path.is_symlink() or (path.is_file() and path not in ours):
            path.unlink()


def _changed(root: S3Folder) -> UserError:
    return UserError(f"The data at {root.uri} changed after the pipeline was submitted; submit it again.")


def _missing(root: S3Folder, name: str) -> UserError:
    return UserError(f"DVC's remote lacks the object {root.uri}/{name}; run `dvc push` where the data is.")
