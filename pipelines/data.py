"""The raw data of a pipeline: where it lies, and by which digest its content is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import UserError
from components.core.storage import digest_path

if TYPE_CHECKING:
    from dvc.output import Output


@dataclass(frozen=True)
class Source:
    """A dataset as `components.core.storage.fetch` takes it.

    Attributes:
        uri: an absolute path, `s3://bucket/prefix`, or `dvc+s3://bucket/folder` with a DVC remote's objects.
        digest: of its content; it changes when the data do.
    """

    uri: str
    digest: str

    @property
    def is_local(self) -> bool:
        """Whether only this machine can read it."""
        return "://" not in self.uri

    def parameters(self) -> dict[str, str]:
        """What a pipeline that reads it is given, wherever it runs."""
        return {"data": self.uri, "digest": self.digest}


def resolve(data: str, *, here: bool = False) -> Source:
    """The source that `data` stands for now.

    Args:
        data: `s3://bucket/prefix`; a folder that DVC tracks, there or not yet pulled; or any other folder.
        here: the pipeline runs on this machine: a folder that is there is read as it is, tracked or not.

    Raises:
        UserError: there is no such data, or what DVC tracks is not what is there, or not in an S3 remote.
    """
    if data.startswith("s3://"):
        from components.core.storage.dataset import digest_listing  # boto3 is imported only where something lies on S3

        return Source(data.rstrip("/"), digest_listing(data))
    path = Path(data).absolute()
    if not (here and path.is_dir()):
        tracked = _tracked(path)
        if tracked:
            return tracked
    if not path.is_dir():
        raise UserError(f"There is no folder {data}; give --data the folder that holds the raw data.")
    return Source(str(path), digest_path(path))


def _tracked(path: Path) -> Source | None:
    """A folder's source in DVC's remote, None if DVC does not track it."""
    root = next((parent for parent in path.parents if (parent / ".dvc").is_dir()), None)
    if root is None:
        return None
    from dvc.exceptions import DvcException, OutputNotFoundError  # a second to import
    from dvc.repo import Repo

    try:
        with Repo(root) as repo:
            (output,) = repo.find_outs_by_path(str(path))
            return _in_remote(output, path)
    except OutputNotFoundError:
        return None
    except DvcException as error:
        raise UserError(f"DVC cannot tell where {path.name} lies: {error}") from error


def _in_remote(output: "Output", path: Path) -> Source:
    name = path.name
    digest = output.hash_info.value if output.hash_info else None
    if not digest:
        raise UserError(f"DVC has no digest of {name} yet; run `dvc repro` or `dvc commit`, then `dvc push`.")
    if not digest.endswith(".dir"):
        raise UserError(f"{name} is a file; track the folder that holds the raw data.")
    if output.hash_name != "md5":
        raise UserError(f"{name} was added by DVC 2; run `dvc cache migrate --dvc-files`, then `dvc push`.")
    if output.exists and output.changed():
        raise UserError(f"{name} changed since DVC last saw it; run `dvc add` or `dvc commit`, then `dvc push`.")
    remote = output.repo.cloud.get_remote_odb(output.remote, "push")
    if remote.fs.protocol != "s3":
        raise UserError(
            f"{name} is in a DVC remote of another kind than S3; `dvc push` it to one and name that remote."
        )
    try:
        remote.fs.info(remote.oid_to_path(digest))  # `dvc push` uploads it last; `exists` would not tell why not
    except FileNotFoundError as error:
        raise UserError(f"{name} is not in DVC's remote s3://{remote.path}; run `dvc push`.") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"DVC's remote s3://{remote.path} cannot be read ({error}); check its keys and address."
        ) from error
    return Source(f"dvc+s3://{remote.path}", digest)
