"""Raw data of every kind, resolved where a pipeline is submitted and fetched where it runs."""

import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from dvc.cli import main
from kfp import dsl
from s3 import BUCKET, DENIED_KEY, DENIED_SECRET

from components.core.errors import UserError
from components.core.storage import digest_path, fetch
from components.data_prep import component as data_prep
from components.data_prep.step import acquire, prepare_digits
from pipelines.data import Source, resolve
from pipelines.pipeline import constants, find
from pipelines.runners import Watch, run_locally
from pipelines.subprocesses import Subprocesses


def dvc(*words):
    assert main([*words, "--quiet"]) == 0


@pytest.fixture
def environment(s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")


@pytest.fixture
def repository(tmp_path, monkeypatch, environment):
    """A Git repository where DVC tracks `data/hearts`, with a remote that has nothing yet."""
    folder = tmp_path / "repository"
    for name in ("a", "b", "deep/c", "empty"):
        path = folder / "data" / "hearts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name if name != "empty" else "")
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "--quiet"], check=True)
    dvc("init")
    dvc("add", "data/hearts")
    dvc("remote", "add", "--default", "store", f"s3://{BUCKET}/{uuid.uuid4()}/store")
    return folder


def put(s3, folder):
    """Upload a folder; its address."""
    prefix = str(uuid.uuid4())
    for path in folder.rglob("*"):
        if path.is_file():
            s3.client().upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder).as_posix()}")
    return f"s3://{BUCKET}/{prefix}"


def test_a_folder_is_its_absolute_path_and_its_content(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x").write_text("x")
    monkeypatch.chdir(tmp_path)
    source = resolve("raw")
    assert source == Source(str(tmp_path / "raw"), digest_path(tmp_path / "raw"))
    assert source.is_local
    assert fetch(source.uri, source.digest) == tmp_path / "raw"


def test_an_s3_prefix_is_fetched_by_the_digest_of_its_listing(s3, environment, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "x").write_text("x")
    uri = put(s3, folder)
    source = resolve(f"{uri}/")
    assert not source.is_local
    assert digest_path(fetch(source.uri, source.digest)) == digest_path(folder)
    s3.client().put_object(Bucket=BUCKET, Key=uri.partition(f"{BUCKET}/")[2] + "/x", Body=b"y")
    assert resolve(uri).digest != source.digest


def test_what_dvc_pushed_is_fetched_without_git_or_dvc_and_still_pulled(repository, tmp_path, monkeypatch):
    dvc("push")
    source = resolve("data/hearts")
    original = digest_path(repository / "data" / "hearts")
    assert source.digest.endswith(".dir") and source.digest in (repository / "data" / "hearts.dvc").read_text()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in source.uri

    shutil.rmtree(repository / "data" / "hearts")
    assert resolve("data/hearts") == resolve("data/hearts", here=True) == source  # pulled or not
    shutil.rmtree(repository / ".dvc" / "cache")
    dvc("pull")
    assert digest_path(repository / "data" / "hearts") == original

    shutil.rmtree(repository)
    monkeypatch.chdir(tmp_path)
    assert digest_path(fetch(source.uri, source.digest)) == original


def test_changed_data_has_another_digest_once_added_and_none_before(repository):
    dvc("push")
    before = resolve("data/hearts")
    (repository / "data" / "hearts" / "a").write_text("changed")
    with pytest.raises(UserError, match="hearts changed since DVC last saw it; run `dvc add`"):
        resolve("data/hearts")
    dvc("add", "data/hearts")
    with pytest.raises(UserError, match=r"hearts is not in DVC's remote .*; run `dvc push`"):
        resolve("data/hearts")
    dvc("push")
    after = resolve("data/hearts")
    assert (after.uri, after.digest != before.digest) == (before.uri, True)
    assert (fetch(after.uri, after.digest) / "a").read_text() == "changed"
    assert (fetch(before.uri, before.digest) / "a").read_text() == "a"


def test_what_a_stage_of_dvc_yaml_wrote_is_known_by_dvc_lock(repository):
    Path("dvc.yaml").write_text("stages: {make: {cmd: mkdir -p made && echo 1 > made/x, outs: [made]}}\n")
    with pytest.raises(UserError, match="DVC has no digest of made yet; run `dvc repro`"):
        resolve("made")
    dvc("repro")
    dvc("push")
    source = resolve("made")
    assert source.digest in Path("dvc.lock").read_text()
    assert (fetch(source.uri, source.digest) / "x").read_text() == "1\n"


def test_here_a_tracked_folder_is_read_as_it_is(repository):
    (repository / "data" / "hearts" / "a").write_text("changed")
    assert resolve("data/hearts", here=True).uri == str(repository / "data" / "hearts")


def test_a_folder_that_dvc_does_not_track_is_read_as_it_is(repository):
    (repository / "data" / "other").mkdir()
    assert resolve("data/other").uri == str(repository / "data" / "other")


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ([], "hearts is not in DVC's remote s3://.*; run `dvc push`"),
        (["remote remove store"], "DVC cannot tell where hearts lies: .*no remote specified"),
        (["remote add --force --default store ../elsewhere"], "a DVC remote of another kind than S3"),
        (["remote modify store version_aware true"], "DVC cannot tell .* cloud versioned remotes"),
        (["add data/hearts/../file"], "file is a file; track the folder"),
    ],
)
def test_what_cannot_be_fetched_later_is_told_at_once(repository, commands, message):
    (repository / "data" / "file").touch()
    for command in commands:
        dvc(*command.split())
    with pytest.raises(UserError, match=message):
        resolve("data/file" if "file is" in message else "data/hearts")


def test_keys_that_are_denied_are_told(repository, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DENIED_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", DENIED_SECRET)
    with pytest.raises(UserError, match=r"DVC's remote s3://.* cannot be read .*; check its keys"):
        resolve("data/hearts")


def test_data_added_by_dvc_2_is_refused(repository):
    tracked = repository / "data" / "hearts.dvc"
    tracked.write_text(tracked.read_text().replace("  hash: md5\n", ""))
    with pytest.raises(UserError, match="added by DVC 2; run `dvc cache migrate --dvc-files`"):
        resolve("data/hearts")


@pytest.mark.parametrize("data", ["nowhere", "gs://bucket/x"])
def test_no_folder_is_told(data):
    with pytest.raises(UserError, match=f"There is no folder {data}; give --data the folder"):
        resolve(data)


def prepared(source):
    """The state and the output's digest of preparing a source under the local runner."""
    fixed = constants(prepare_digits, find("digits").load("smoke").prepare)

    @dsl.pipeline(name="preparing")
    def pipeline():
        data_prep.prepare_digits(**fixed, source=source.uri, digest=source.digest)

    watch = Watch()
    run_locally(pipeline, watch, Subprocesses())
    (task,) = watch.tasks
    return task.state, task.facts.get("digest")


def test_a_pipeline_takes_every_kind_alike_and_caches_by_the_digest(s3, repository, tmp_path):
    params = find("digits").load("smoke", ["digits.acquire.source=bundled"]).acquire
    acquire(params, out=repository / "data" / "digits")
    dvc("add", "data/digits")
    dvc("push")
    uri = put(s3, repository / "data" / "digits")
    sources = [resolve("data/digits", here=True), resolve("data/digits"), resolve(uri)]
    states, digests = zip(*map(prepared, sources), strict=True)
    assert states == ("done", "done", "done")
    assert len(set(digests)) == 1
    assert prepared(resolve(uri))[0] == "cached"
    s3.client().put_object(Bucket=BUCKET, Key=uri.partition(f"{BUCKET}/")[2] + "/source.txt", Body=b"others")
    assert prepared(resolve(uri))[0] == "done"
