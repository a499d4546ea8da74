"""What lies on disk and on S3: content digests, the state folder, checkpoints, fetched data."""

from components.core.storage.checkpoints import Checkpoints
from components.core.storage.digest import digest_code, digest_json, digest_path
from components.core.storage.fetch import fetch
from components.core.storage.state import make_folder, open_shared, state_dir
