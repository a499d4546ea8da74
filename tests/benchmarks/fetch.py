"""Rate of fetching data by hash from a real S3 server, beside boto3's plain parallel download of the same objects."""

import hashlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import numpy as np
from boto3 import Session
from botocore.config import Config
from s3 import BUCKET, S3, temporary_s3_server

from components.core.storage import fetch
from components.core.storage.dataset import digest_listing
from components.core.storage.s3 import CONNECTIONS

ROUNDS = 5
DATASETS = {"small": {f"{i % 20}/{i}": 20_000 for i in range(2000)}, "large": {"volume": 500_000_000}}
"""Bytes of the files of each dataset, by name."""


def main() -> None:
    """Print the medians of several rounds, in each of which every way runs once on every dataset."""
    with tempfile.TemporaryDirectory() as folder, temporary_s3_server(Path(folder) / "server") as server:
        os.environ |= server.environment()
        for name, sizes in DATASETS.items():
            sources = _upload(server, name, sizes)
            ways = {"boto3": lambda target, name=name, sizes=sizes: _plain(target, name, list(sizes))}
            for kind, source in sources.items():
                ways[kind] = lambda target, source=source: _fetch(target, *source)
            seconds = _compare(ways, Path(folder))
            megabytes = sum(sizes.values()) / 1e6
            for way, times in seconds.items():
                ratio = statistics.median(a / b for a, b in zip(seconds["boto3"], times, strict=True))
                middle = statistics.median(times)
                print(f"{name:6} {way:7} {middle:6.2f} s  {megabytes / middle:6.0f} MB/s  {ratio:6.0%} of boto3's rate")


def _upload(server: S3, name: str, sizes: dict[str, int]) -> dict[str, tuple[str, str]]:
    """Put a dataset on the server, plainly and as a DVC remote's objects; their sources and digests."""
    client = server.client(max_pool_connections=CONNECTIONS)

    def put(path: str) -> dict[str, str]:
        content = np.random.default_rng(crc32(path.encode())).bytes(sizes[path])
        md5 = hashlib.md5(content).hexdigest()
        for key in (f"{name}/{path}", f"{name}-dvc/{md5[:2]}/{md5[2:]}"):
            client.put_object(Bucket=BUCKET, Key=key, Body=content)
        return {"md5": md5, "relpath": path}

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        listed = list(pool.map(put, sizes))
    manifest = json.dumps(listed).encode()
    md5 = hashlib.md5(manifest).hexdigest()
    client.put_object(Bucket=BUCKET, Key=f"{name}-dvc/{md5[:2]}/{md5[2:]}.dir", Body=manifest)
    uri = f"s3://{BUCKET}/{name}"
    return {"s3://": (uri, digest_listing(uri)), "DVC": (f"dvc+{uri}-dvc", f"{md5}.dir")}


def _compare(ways: dict[str, Callable[[Path], None]], folder: Path) -> dict[str, list[float]]:
    """Seconds of every way by round, after one round that does not count; the ways take turns in being first."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(ROUNDS + 1):
        for way in sorted(ways, reverse=round_ % 2 == 1):
            target = folder / "target"
            begin = time.perf_counter()
            ways[way](target)
            if round_:
                seconds[way].append(time.perf_counter() - begin)
            shutil.rmtree(target)
    return seconds


def _plain(target: Path, prefix: str, names: list[str]) -> None:
    """What people write: one client, `download_file` in a pool of threads; nothing is checked."""
    for parent in {(target / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    client = Session().client("s3", config=Config(max_pool_connections=CONNECTIONS))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda name: client.download_file(BUCKET, f"{prefix}/{name}", str(target / name)), names))


def _fetch(target: Path, source: str, digest: str) -> None:
    os.environ["GANFLOW_HOME"] = str(target)
    fetch(source, digest)


if __name__ == "__main__":
    main()
