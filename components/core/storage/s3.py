"""S3: the only file that imports boto3, which takes keys, endpoint, region and retries from its own environment."""

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from components.core.errors import UserError

PIECE = 8 << 20
"""Bytes that one request asks for at most; larger objects are read in pieces, several at a time."""

CONNECTIONS = 8
"""Requests under way at a time."""

CHUNK = 1 << 18
"""Bytes handled at a time; larger buffers cost more to have than they save."""

_ATTEMPTS = 5
"""How often a piece's connection may break; requests that get no answer are boto3's to retry."""

_DENIED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
_ABSENT = ("404", "NoSuchKey", "412", "PreconditionFailed")
_EMPTY = ("416", "InvalidRange")


class Absent(Exception):
    """There is no object of the name that this tells, or not in the version asked for."""


class _Empty(Exception):
    """The object has no byte that could be asked for."""


@dataclass(frozen=True)
class Entry:
    """An object in a listing: its name below the folder, its bytes, its ETag without quotes."""

    name: str
    size: int
    etag: str


@dataclass(frozen=True)
class Piece:
    """Some bytes of an object, and what the answer said of the whole.

    Attributes:
        chunks: the bytes as they come, to be taken once.
        size: bytes of the object.
        etag: of the object, without quotes; empty where it is no checksum, because a key encrypts the object.
    """

    chunks: Iterator[bytes]
    size: int
    etag: str

    @property
    def content(self) -> bytes:
        """All of them."""
        return b"".join(self.chunks)


class S3Folder:
    """The objects below `s3://bucket/prefix`; their names are relative to it. Threads may share one.

    Every method raises a `UserError` where the keys are denied, the bucket is missing or no server answers.

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
        with self._telling():
            self._client = boto3.Session().client(
                "s3", config=Config(connect_timeout=10, max_pool_connections=CONNECTIONS, tcp_keepalive=True)
            )

    def read(self, name: str) -> bytes | None:
        """An object's bytes, None where there is none of that name."""
        try:
            first = self.piece(name, 0)
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                starts = range(PIECE, first.size, PIECE)
                rest = pool.map(lambda start: self.piece(name, start, first.etag).content, starts)
                return b"".join([first.content, *rest])
        except Absent:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace an object, whole or not at all."""
        with self._telling():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content)

    def remove(self) -> None:
        """Delete every object of the folder."""
        for entry in self.list():
            with self._telling():
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + entry.name)

    def list(self) -> list[Entry]:
        """All objects of the folder in the order of their names, empty ones that stand for folders left out."""
        with self._telling():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = [each for page in pages for each in page.get("Contents", ())]
        return sorted(
            (
                Entry(each["Key"].removeprefix(self._prefix), each["Size"], each["ETag"].strip('"'))
                for each in found
                if each["Size"] or not each["Key"].endswith("/")
            ),
            key=lambda entry: entry.name,
        )

    def piece(self, name: str, start: int, etag: str | None = None) -> Piece:
        """The bytes of an object from `start` on, at most `PIECE`; read on where a connection breaks.

        Args:
            etag: of the version to read; any if not given.

        Raises:
            Absent: there is none, or not in that version.
        """
        try:
            answer = self._get(name, start, start + PIECE, etag)
        except _Empty:
            return Piece(iter(()), 0, "")
        return Piece(self._chunks(answer, name, start), _size(answer), _etag(answer))

    def part_size(self, name: str) -> int:
        """Bytes of the parts, but for the last, in which an object was uploaded; 0 where the server does not tell."""
        try:
            return self._client.head_object(Bucket=self._bucket, Key=self._prefix + name, PartNumber=1)["ContentLength"]
        except (ClientError, BotoCoreError):
            return 0

    def _chunks(self, answer: dict[str, Any], name: str, have: int) -> Iterator[bytes]:
        """The bytes of a piece as they come; where the connection breaks, they are asked for from there on."""
        stop, etag = min(have + PIECE, _size(answer)), answer["ETag"].strip('"')
        for attempt in range(_ATTEMPTS):
            try:
                while chunk := answer["Body"].read(CHUNK):
                    have += len(chunk)
                    yield chunk
            except (HTTPClientError, IncompleteReadError):
                time.sleep(0.05 * 2**attempt)
            if have == stop:
                return
            answer = self._get(name, have, stop, etag)
        raise UserError(f"The connection to S3 keeps breaking while {self.uri}/{name} is read; run again to go on.")

    def _get(self, name: str, start: int, stop: int, etag: str | None) -> dict[str, Any]:
        version = {"IfMatch": f'"{etag}"'} if etag else {}
        with self._telling(name):
            return self._client.get_object(
                Bucket=self._bucket, Key=self._prefix + name, Range=f"bytes={start}-{stop - 1}", **version
            )

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
            if code in _EMPTY:
                raise _Empty from error
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
        except (BotoCoreError, ValueError) as error:  # boto3 raises the latter for an address that is none
            raise UserError(f"{where} does not answer; check AWS_ENDPOINT_URL and the network: {error}") from error


def _size(answer: dict[str, Any]) -> int:
    """Bytes of the whole object that an answer has a piece of."""
    return int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else answer["ContentLength"]


def _etag(answer: dict[str, Any]) -> str:
    keyed = "SSECustomerAlgorithm" in answer or answer.get("ServerSideEncryption", "").startswith("aws:kms")
    return "" if keyed else answer["ETag"].strip('"')
