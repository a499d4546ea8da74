import uuid

import pytest
from proxy import proxy
from s3 import BUCKET, DENIED_KEY, DENIED_SECRET

from components.core.errors import UserError
from components.core.storage import Checkpoints

PIECE = 8 << 20


@pytest.fixture(params=["folder", "s3"])
def root(request, tmp_path, monkeypatch):
    """Address for checkpoints, of both kinds."""
    on_s3 = request.param == "s3"
    uri = s3_root(request.getfixturevalue("s3"), monkeypatch) if on_s3 else str(tmp_path / "kept")
    monkeypatch.setenv("CHECKPOINT_URI", uri)


@pytest.fixture
def on_s3(s3, monkeypatch):
    """The server, where checkpoints go."""
    monkeypatch.setenv("CHECKPOINT_URI", s3_root(s3, monkeypatch))
    return s3


def s3_root(s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return f"s3://{BUCKET}/{uuid.uuid4()}/checkpoints/"


def test_what_is_written_is_read_until_it_is_removed(root):
    checkpoints = Checkpoints("f")
    assert checkpoints.read("training") is None
    for content in (b"first", b"second", b""):
        checkpoints.write("training", content)
        assert Checkpoints("f").read("training") == content
    Checkpoints("f").remove()
    assert Checkpoints("f").read("training") is None


def test_fingerprints_keep_to_themselves_and_take_their_restarts_with_them(root):
    for fingerprint in ("f", "f/restart-1", "ff"):
        Checkpoints(fingerprint).write("training", fingerprint.encode())
    assert Checkpoints("f").read("training") == b"f"
    Checkpoints("f").remove()
    assert [Checkpoints(each).read("training") for each in ("f", "f/restart-1", "ff")] == [None, None, b"ff"]


def test_removing_nothing_is_no_error(root):
    Checkpoints("never written").remove()


def test_a_checkpoint_larger_than_a_piece_comes_back_whole(on_s3):
    content = bytes(range(256)) * (2 * PIECE // 256) + b"rest"
    Checkpoints("f").write("training", content)
    assert Checkpoints("f").read("training") == content


def test_a_connection_cut_in_the_middle_is_taken_up_where_it_broke(on_s3, monkeypatch):
    content = bytes(range(256)) * 8192
    Checkpoints("f").write("training", content)
    with proxy(on_s3.endpoint) as harmful:
        monkeypatch.setenv("AWS_ENDPOINT_URL", harmful.endpoint)
        harmful.cut(times=3, after=600_000)
        assert Checkpoints("f").read("training") == content
        assert harmful.cuts == 0


def test_a_connection_that_only_breaks_is_given_up_with_a_sentence(on_s3, monkeypatch):
    Checkpoints("f").write("training", bytes(100_000))
    with proxy(on_s3.endpoint) as harmful:
        monkeypatch.setenv("AWS_ENDPOINT_URL", harmful.endpoint)
        harmful.cut(times=100, after=2000)
        with pytest.raises(UserError, match=r"keeps breaking while .*/f/training is read; run again to go on"):
            Checkpoints("f").read("training")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": DENIED_KEY, "AWS_SECRET_ACCESS_KEY": DENIED_SECRET}, "denies access .* AWS_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "denies access .*InvalidAccessKeyId.* check AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "denies access .*SignatureDoesNotMatch"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "127.0.0.1:1 does not answer; check AWS_ENDPOINT_URL",
        ),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "check AWS_ENDPOINT_URL"),
        ({"CHECKPOINT_URI": "s3://no-such-bucket/x"}, "has no bucket no-such-bucket; create it"),
        ({"CHECKPOINT_URI": "s3://"}, "An S3 address reads s3://bucket/prefix"),
        ({"CHECKPOINT_URI": "s3://key:secret@bucket/x"}, "^An S3 address .* keys come from the environment"),
        ({"CHECKPOINT_URI": "ftp://host/x"}, "Checkpoints cannot be kept at ftp://host/x/f; set CHECKPOINT_URI to"),
    ],
)
def test_what_is_set_wrongly_is_told_in_a_sentence(on_s3, monkeypatch, changes, message):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    for act in (
        lambda: Checkpoints("f").read("training"),
        lambda: Checkpoints("f").write("training", b"x"),
        lambda: Checkpoints("f").remove(),
    ):
        with pytest.raises(UserError, match=message):
            act()


def test_without_keys_it_says_which_variables_to_set(on_s3, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no keys for s3://.*; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        Checkpoints("f").read("training")
