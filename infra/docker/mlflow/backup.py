"""Copy a dump of the database to S3, then delete the copies older than BACKUP_DAYS, but never the newest BACKUP_DAYS.

Usage: backup.py DUMP. BACKUP_URI (s3://bucket/prefix) says where to; boto3's own environment, with which keys.

This machine's clock is not asked: the server that keeps the copies dates all of them. If its clock leaps, as many
copies as there are days stay all the same.
"""

import math
import os
import re
import sys
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import boto3


def main(dump: Path) -> None:
    """Copy, check the size, and only then delete."""
    where = urlsplit(os.environ["BACKUP_URI"])
    bucket, prefix, days = where.netloc, where.path.strip("/"), float(os.environ["BACKUP_DAYS"])
    client = boto3.client("s3")

    answer = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=1)
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    key = f"{prefix}/{now:%Y-%m-%dT%H-%M-%SZ}.dump"
    client.upload_file(str(dump), bucket, key)
    stored, expected = client.head_object(Bucket=bucket, Key=key), dump.stat().st_size
    if stored["ContentLength"] != expected:
        sys.exit(
            f"s3://{bucket}/{key} has {stored['ContentLength']} bytes, not {expected}: older copies are kept; "
            "run the job again."
        )
    print(f"Wrote s3://{bucket}/{key}, {expected} bytes.")

    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    named = re.compile(re.escape(prefix) + r"/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.dump")
    others = [each for page in pages for each in page.get("Contents", []) if named.fullmatch(each["Key"])]
    others = [each for each in others if each["Key"] != key]
    others.sort(key=lambda each: (each["LastModified"], each["Key"]))
    for each in others[: max(0, len(others) + 1 - math.ceil(days))]:
        if each["LastModified"] < stored["LastModified"] - timedelta(days=days):
            client.delete_object(Bucket=bucket, Key=each["Key"])
            print(f"Deleted s3://{bucket}/{each['Key']}.")


main(Path(sys.argv[1]))
