"""Raw data, wherever they lie."""

from pathlib import Path

from components.core.errors import UserError
from components.core.storage.digest import digest_path
from components.core.storage.state import state_dir


def fetch(source: str, digest: str) -> Path:
    """The folder with the data of a digest: a local `source` itself, else a copy in the state folder.

    Args:
        source: a local folder, or what `components.core.storage.dataset` knows.
        digest: of its content, as `source` was when it was taken.

    Raises:
        UserError: it is not there any more, not as it was, or cannot be had unharmed.
    """
    if "://" not in source:
        if not Path(source).is_dir() or digest_path(Path(source)) != digest:
            raise UserError(f"The data in {source} changed after the run was started; run it again.")
        return Path(source)
    from components.core.storage.dataset import fetch_dataset  # boto3 is imported only where something lies on S3

    return fetch_dataset(source, digest, state_dir() / "data")
