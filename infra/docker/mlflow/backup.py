"""Copy a dump of the database to S3, then delete the copies older than BACKUP_DAYS.

Usage: backup.py DUMP. BACKUP_URI (s3://bucket/prefix) says where to; boto3's own environment, with which keys.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import boto3


def main(dump: Path) -> None:
    """Copy, check the size, and only then delete."""
    where = urlsplit(os.environ["BACKUP_URI"])
    bucket, prefix = where.netloc, where.path.strip("/")
    now = datetime.now(UTC)
    client = boto3.client("s3")

    def named(time: datetime) -> str:
        return f"{prefix}/{time:%Y-%m-%dT%H-%M-%SZ}.dump"

    key = named(now)
    client.upload_file(str(dump), bucket, key)
    stored, expected = client.head_object(Bucket=bucket, Key=key)["ContentLength"], dump.stat().st_size
    if stored != expected:
        sys.exit(f"s3://{bucket}/{key} has {stored} bytes, not {expected}: older copies are kept; run the job again.")
    print(f"Wrote s3://{bucket}/{key}, {expected} bytes.")

    oldest = named(now - timedelta(days=float(os.environ["BACKUP_DAYS"])))
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for each in page.get("Contents", []):
            if each["Key"] < oldest and each["Key"].endswith(".dump"):
                client.delete_object(Bucket=bucket, Key=each["Key"])
                print(f"Deleted s3://{bucket}/{each['Key']}.")


main(Path(sys.argv[1]))
