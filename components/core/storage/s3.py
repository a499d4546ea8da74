"""S3: the only file that imports boto3, which takes keys, endpoint, region and retries from its own environment."""

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
from s3transfer.futures import TransferFuture
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

from components.core.errors import UserError

CONNECTIONS = 8
"""Requests under way at a time."""

_VERSIONS = 3
"""How many versions of an object are begun to be read, each replaced meanwhile, before that is an error."""

_DENIED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
_ABSENT = ("404", "NoSuchKey")


class Absent(Exception):
    """There is no object of the name that this tells."""


class Changed(UserError):
    """An object is there, but not (or not for as long as it takes to read it) in one version."""


@dataclass(frozen=True)
class Entry:
    """An object in a listing: its name below the folder, its bytes, its ETag without quotes, the server's time."""

    name: str
    size: int
    etag: str
    modified: datetime


class S3Folder:
    """The objects below `s3://bucket/prefix`; their names are relative to it. Threads may share one.

    Every method raises a `UserError` where the keys are denied, the bucket is missing, no server answers or the line
    keeps breaking. As a context manager it ends what is under way when an exception leaves the context.

    Raises:
        UserError: `uri` is none, or has more in it.
    """

    def __init__(self, uri: str) -> None:
        parts = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/[^?#]*)?", uri)
        if parts is None:
            raise UserError("An S3 address reads s3://bucket/prefix; keys come from the environment, never from there.")
        self._bucket = parts[1]
        self._prefix = "".join(f"{part}/" for part in (parts[2] or "").split("/") if part)
        self.uri = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        # Where answers' checksums are not required, the transfer manager holds all requests to one ETag, and asks for
        # it by none of its own. But then threads of the queue put the rest of an object into it: it must not be full.
        config = Config(
            connect_timeout=10,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            response_checksum_validation="when_required",
        )
        with self._telling():
            self._client = boto3.Session().client("s3", config=config)
        settings = {"max_request_concurrency": CONNECTIONS, "max_submission_concurrency": CONNECTIONS}
        queues = {"max_request_queue_size": sys.maxsize, "max_io_queue_size": 100}
        self._transfers = TransferManager(self._client, TransferConfig(**settings, **queues))

    def __enter__(self) -> "S3Folder":
        return self

    def __exit__(self, *error: object) -> None:
        self._transfers.__exit__(*error)

    def read(self, name: str) -> bytes | None:
        """The bytes of an object that memory has room for; None where there is none of that name.

        Raises:
            Changed: it is replaced again and again while it is read.
        """
        try:
            self._download(name, content := BytesIO())
        except Absent:
            return None
        return content.getvalue()

    def upload(self, path: Path, name: str) -> None:
        """Replace an object of any size by a file's content, whole or not at all."""
        with self._telling(name):
            self._transfers.upload(str(path), self._bucket, self._prefix + name).result()

    def download(self, name: str, path: Path, etag: str = "") -> None:
        """Replace a file by an object's content, whole or not at all.

        Args:
            etag: of the version to read; any if not given, but one.

        Raises:
            Absent: there is none of that name.
            Changed: it is not in the version asked for, or replaced again and again while it is read.
            OSError: the file cannot be written.
        """
        self._download(name, path, etag)

    def list(self) -> list[Entry]:
        """All objects of the folder in the order of their names, empty ones that stand for folders left out."""
        with self._telling():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = [each for page in pages for each in page.get("Contents", ())]
        entries = [
            Entry(each["Key"].removeprefix(self._prefix), each["Size"], each["ETag"].strip('"'), each["LastModified"])
            for each in found
            if each["Size"] or not each["Key"].endswith("/")
        ]
        return sorted(entries, key=lambda entry: entry.name)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, one after the other; what is not there is no error."""
        for name in names:
            with self._telling(name):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def part_size(self, name: str) -> int:
        """Bytes of an object's first part, of all of it if it was uploaded as one.

        0 where a key encrypts the object, so that its ETag is no checksum.
        """
        with self._telling(name):
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name, PartNumber=1)
        keyed = "SSECustomerAlgorithm" in head or head.get("ServerSideEncryption", "").startswith("aws:kms")
        return 0 if keyed else head["ContentLength"]

    def _download(self, name: str, to: Path | BytesIO, etag: str = "") -> None:
        for _ in range(1 if etag else _VERSIONS):
            if isinstance(to, BytesIO):
                to.truncate(0)
            with self._telling(name), contextlib.suppress(S3DownloadFailedError):  # for another ETag
                target, version = str(to) if isinstance(to, Path) else to, [_Version(etag)] if etag else []
                future = self._transfers.download(self._bucket, self._prefix + name, target, subscribers=version)
                future.result()
                # A break in the first request, then a shorter version: the end of the longer one would be left over.
                if future.meta.size == (to.stat().st_size if isinstance(to, Path) else len(to.getbuffer())):
                    return
        raise Changed(f"{self.uri}/{name} was replaced while it was read; run again when nobody writes it.")

    @contextlib.contextmanager
    def _telling(self, name: str = "") -> Iterator[None]:
        """Tell what went wrong in a sentence."""
        where = f"S3 at {self._client.meta.endpoint_url}" if hasattr(self, "_client") else "S3"
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _ABSENT:
                raise Absent(name) from error
            if code in _DENIED:
                raise UserError(
                    f"{where} denies access to {self.uri} ({code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                    "and what that key may do there."
                ) from error
            if code == "NoSuchBucket":
                raise UserError(
                    f"{where} has no bucket {self._bucket}; create it, or check the address {self.uri}."
                ) from error
            raise UserError(f"{where} refuses a request for {self.uri}: {error}") from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise UserError(
                f"There are no keys for {self.uri}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from error
        except RetriesExceededError as error:
            raise UserError(
                f"The connection to S3 keeps breaking while {self.uri}/{name} is read; run again to go on."
            ) from error
        except (BotoCoreError, ValueError) as error:  # boto3 raises the latter for an address that is none
            raise UserError(f"{where} does not answer; check AWS_ENDPOINT_URL and the network: {error}") from error


class _Version(BaseSubscriber):
    """Holds a download to one version of the object."""

    def __init__(self, etag: str) -> None:
        self._etag = etag

    def on_queued(self, future: TransferFuture, **_: object) -> None:
        future.meta.provide_object_etag(f'"{self._etag}"')
