"""A real S3 server (SeaweedFS) for tests: signatures are checked, and keys without rights are denied."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "ganflow"
KEY, SECRET = "the-key", "the-secret"
DENIED_KEY, DENIED_SECRET = "a-strangers-key", "a-strangers-secret"
"""Known to the server, and without a right to anything."""

_GRPC_OFFSET = 10_000
"""From a SeaweedFS server's HTTP port to its gRPC port."""

_PARTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class S3:
    """A running server and a pair of keys for it; the bucket `BUCKET` exists.

    Attributes:
        endpoint: its address, on 127.0.0.1.
        key, secret: whom requests come from.
    """

    endpoint: str
    key: str = KEY
    secret: str = SECRET

    def environment(self) -> dict[str, str]:
        """The variables by which boto3, and so everything here, finds the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, **config: Any) -> Any:
        """A boto3 client of the server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(**config),
        )


def is_installed() -> bool:
    """Whether `s3_server` has something to start."""
    return _weed().exists()


@contextlib.contextmanager
def s3_server(folder: Path, *, port: int | None = None) -> Iterator[S3]:
    """A server that keeps its data in `folder`, empty or left by an earlier one; killed at the end.

    Args:
        folder: where its data and its log go.
        port: of the endpoint; a free one if not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "identities.json").write_text(json.dumps(_identities()))
    ports = dict(zip(_PARTS, _free_ports(len(_PARTS)), strict=True))
    if port:
        ports["s3"] = port
    command = [
        str(_weed()),
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=100",
        "-s3",
        f"-s3.config={folder / 'identities.json'}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{part}.port={number}" for part, number in ports.items()),
        *(f"-{part}.port.grpc={number + _GRPC_OFFSET}" for part, number in ports.items()),
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        s3 = S3(f"http://127.0.0.1:{ports['s3']}")
        _wait(s3, server, folder / "server.log")
        yield s3
    finally:
        server.kill()  # it takes its time to end by itself
        server.wait()
        for number in ports.values():
            for socket_number in (number, number + _GRPC_OFFSET):
                for left in Path("/tmp").glob(f"seaweedfs-*-{socket_number}.sock"):
                    left.unlink()


@contextlib.contextmanager
def temporary_s3_server(folder: Path) -> Iterator[S3]:
    """A server whose data goes when it ends."""
    try:
        with s3_server(folder) as s3:
            yield s3
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _weed() -> Path:
    return Path(sys.executable).with_name("weed")


def _identities() -> dict[str, Any]:
    return {
        "identities": [
            {"name": "us", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]},
            {
                "name": "stranger",
                "credentials": [{"accessKey": DENIED_KEY, "secretKey": DENIED_SECRET}],
                "actions": ["Read:no-such-bucket"],
            },
        ]
    }


def _wait(s3: S3, server: subprocess.Popen, log: Path) -> None:
    """Until the server takes an object into `BUCKET`."""
    client = s3.client(connect_timeout=1, read_timeout=1, retries={"max_attempts": 1})
    while True:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(BotoCoreError, ClientError):
            if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            client.delete_object(Bucket=BUCKET, Key="ready")
            return
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free, like those `_GRPC_OFFSET` above them."""
    with contextlib.ExitStack() as held:
        return [_free_port(held) for _ in range(count)]


def _free_port(held: contextlib.ExitStack) -> int:
    while True:
        with contextlib.suppress(OSError, OverflowError):
            http, grpc = held.enter_context(socket.socket()), held.enter_context(socket.socket())
            http.bind(("127.0.0.1", 0))
            port = http.getsockname()[1]
            grpc.bind(("127.0.0.1", port + _GRPC_OFFSET))
            return port
