"""MNIST, downloaded from its mirrors, held against pinned digests and kept in the cache."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from components.core.errors import UserError
from components.core.storage import digest_path, state_dir

SOURCE = "MNIST"

DIGESTS = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""SHA-256 of every file."""

CONNECT_SECONDS, READ_SECONDS = 4, 30


def is_available(mirrors: Sequence[str]) -> bool:
    """Whether the files are cached, or a mirror answers, whatever it says; where none does, there is no network."""
    cached = ((_cache() / name, digest) for name, digest in DIGESTS.items())
    return all(path.exists() and digest_path(path) == digest for path, digest in cached) or any(map(_answers, mirrors))


def write_mnist(out: Path, mirrors: Sequence[str]) -> None:
    """Write the four files into the folder `out`, from the cache or else from the first mirror that delivers.

    Raises:
        UserError: no mirror delivers; says what each of them did.
    """
    for name in DIGESTS:
        shutil.copyfile(_fetch(name, mirrors), out / name)


def _fetch(name: str, mirrors: Sequence[str]) -> Path:
    """A file's place in the cache, where only whole files of the right digest appear."""
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    failures = []
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(f"{mirror}/{name}", DIGESTS[name], name, _cache(), downloader=downloader))
        except (requests.RequestException, ValueError) as error:  # ValueError: pooch's, of a wrong digest
            failures.append(f"{mirror} {_told(error)}")
    raise UserError(
        f"MNIST's {name} could not be downloaded ({'; '.join(failures)}): try again later, give --data a folder that "
        "holds MNIST's four files, or take the bundled digits with digits.acquire.source=bundled."
    )


def _answers(mirror: str) -> bool:
    try:
        requests.head(f"{mirror}/{next(iter(DIGESTS))}", timeout=CONNECT_SECONDS)
    except requests.RequestException:
        return False
    return True


def _told(error: Exception) -> str:
    match error:
        case requests.HTTPError():
            return f"answered {error.response.status_code} {error.response.reason}"
        case requests.exceptions.SSLError():
            return "cannot be trusted (TLS)"
        case requests.ConnectionError() | requests.Timeout():
            return "did not answer"
        case requests.exceptions.ChunkedEncodingError():
            return "broke off"
        case requests.RequestException():
            return f"cannot be asked: {error}"
        case _:
            return "sent a file whose SHA-256 is not MNIST's"


def _cache() -> Path:
    return state_dir() / "downloads"
