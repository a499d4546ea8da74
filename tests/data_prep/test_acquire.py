"""Digits for whoever has none: downloaded from real servers on this machine, or bundled."""

import http.server
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from components.core.contract import check
from components.core.errors import UserError
from components.core.images import ImageSet
from components.core.storage import digest_path, state_dir
from components.core.storage.digest import MANIFEST
from components.data_prep import mnist
from components.data_prep.bundled import write_bundled
from components.data_prep.step import AcquireParams, PrepareDigitsParams, acquire, prepare_digits

BUNDLED = "scikit-learn's bundled digits (1797 of 8×8 pixels, enlarged to 28×28)"
REMEDY = (
    "try again later, give --data a folder that holds MNIST's four files, or take the bundled digits with "
    "digits.acquire.source=bundled."
)
FIRST = "train-images-idx3-ubyte.gz"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves the folder of its server; what goes wrong, the path's first part says."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.server.asked.append(self.path)
        self.answer(body=True)

    def answer(self, body):
        _, fault, name = self.path.split("/")
        if fault == "missing":
            return self.send_error(404)
        content = (self.server.folder / name).read_bytes()
        if fault == "other":
            content = content[:-1] + b"?"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "silent" and body:
            time.sleep(1)
        elif body:
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder of what the mirrors here take for MNIST's files."""
    folder = tmp_path_factory.mktemp("original")
    write_bundled(folder)
    return folder


@pytest.fixture
def server(original, monkeypatch):
    monkeypatch.setattr(mnist, "DIGESTS", {name: digest_path(original / name) for name in mnist.DIGESTS})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.folder, server.asked = original, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror(server):
    """Address of the server for one of its faults, or none."""
    return lambda fault: f"http://127.0.0.1:{server.server_port}/{fault}"


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "raw"


def files(folder: Path) -> set[str]:
    """What lies below a folder."""
    return {path.name for path in folder.rglob("*")} if folder.exists() else set()


def cached() -> set[str]:
    return files(state_dir() / "downloads")


def failure(out, source, *mirrors):
    """What a failing download tells; it must leave nothing."""
    with pytest.raises(UserError) as error:
        acquire(AcquireParams(source=source, mirrors=list(mirrors)), out=out)
    assert not [path for path in out.parent.iterdir() if out.name in path.name]
    assert not cached()
    return str(error.value)


def test_mnist_is_written_as_the_mirror_has_it(mirror, original, out):
    acquire(AcquireParams(source="mnist", mirrors=[mirror("good")]), out=out)
    assert {name: digest_path(out / name) for name in mnist.DIGESTS} == mnist.DIGESTS
    assert files(out) == {*mnist.DIGESTS, "source.txt", MANIFEST}
    assert (out / "source.txt").read_text() == "MNIST\n"


def test_mnist_is_taken_where_a_mirror_answers(mirror, out):
    acquire(AcquireParams(source="auto", mirrors=[mirror("good")]), out=out)
    assert (out / "source.txt").read_text() == "MNIST\n"


def test_the_next_mirror_is_tried(mirror, nobody, out):
    mirrors = [nobody, mirror("missing"), mirror("cut"), mirror("other"), mirror("good")]
    acquire(AcquireParams(source="mnist", mirrors=mirrors), out=out)
    assert cached() == set(mnist.DIGESTS)


def test_a_second_download_asks_nobody(mirror, server, nobody, out):
    acquire(AcquireParams(source="mnist", mirrors=[mirror("good")]), out=out)
    first, asked = digest_path(out), len(server.asked)
    acquire(AcquireParams(source="auto", mirrors=[nobody]), out=out)
    assert digest_path(out) == first
    assert len(server.asked) == asked == 4


def test_a_damaged_file_in_the_cache_is_downloaded_again(mirror, out):
    acquire(AcquireParams(source="mnist", mirrors=[mirror("good")]), out=out)
    (state_dir() / "downloads" / FIRST).write_bytes(b"damaged")
    acquire(AcquireParams(source="mnist", mirrors=[mirror("good")]), out=out)
    assert digest_path(out / FIRST) == mnist.DIGESTS[FIRST]


def test_downloads_at_the_same_time_do_not_spoil_each_other(mirror, tmp_path):
    outs = [tmp_path / f"raw{number}" for number in range(4)]
    for folder in outs:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda folder: mnist.write_mnist(folder, [mirror("good")]), outs))
    assert len({digest_path(folder) for folder in outs}) == 1
    assert cached() == set(mnist.DIGESTS)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("missing", "answered 404 Not Found"),
        ("cut", "broke off"),
        ("other", "sent a file whose SHA-256 is not MNIST's"),
        ("silent", "did not answer"),
    ],
)
@pytest.mark.parametrize("source", ["auto", "mnist"])
def test_a_mirror_that_answers_wrongly(mirror, out, monkeypatch, source, fault, told):
    monkeypatch.setattr(mnist, "READ_SECONDS", 0.2)
    sentence = failure(out, source, mirror(fault))
    assert sentence == f"MNIST's {FIRST} could not be downloaded ({mirror(fault)} {told}): {REMEDY}"


def test_what_every_mirror_did_is_told(mirror, nobody, out):
    secure = mirror("good").replace("http:", "https:")
    sentence = failure(out, "mnist", nobody, mirror("missing"), secure, "http://*")
    for told in (
        f"({nobody} did not answer; ",
        f"; {mirror('missing')} answered 404 Not Found; ",
        f"; {secure} cannot be trusted (TLS); ",
        "; http://* cannot be asked: ",
    ):
        assert told in sentence


def test_no_network_and_mnist(nobody, out):
    assert failure(out, "mnist", nobody) == (
        f"MNIST's {FIRST} could not be downloaded ({nobody} did not answer): {REMEDY}"
    )


def test_no_network_gives_the_bundled_digits_and_says_so(nobody, out, capsys):
    acquire(AcquireParams(source="auto", mirrors=[nobody]), out=out)
    assert (out / "source.txt").read_text() == f"{BUNDLED}\n"
    assert f"the digits are not MNIST's but {BUNDLED}" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["good", "missing", "cut"])
def test_mnist_is_available_where_a_mirror_answers(mirror, nobody, fault):
    assert mnist.is_available([nobody, mirror(fault)])


def test_mnist_is_available_from_the_cache_alone(mirror, nobody, out):
    assert not mnist.is_available([nobody])
    acquire(AcquireParams(source="mnist", mirrors=[mirror("good")]), out=out)
    assert mnist.is_available([nobody])
    (state_dir() / "downloads" / FIRST).write_bytes(b"damaged")
    assert not mnist.is_available([nobody])


def test_a_download_prints_nothing(mirror, out, capfd):
    acquire(AcquireParams(source="mnist", mirrors=[mirror("missing"), mirror("good")]), out=out)
    assert capfd.readouterr() == ("", "")


def bundled(tmp_path) -> ImageSet:
    params = AcquireParams(source="bundled", mirrors=["http://unused"])
    acquire(params, out=tmp_path / "raw")
    prepare_digits(PrepareDigitsParams(size=28), raw=tmp_path / "raw", out=tmp_path / "images")
    return ImageSet.load(tmp_path / "images")


def test_bundled_digits_are_split_class_by_class(tmp_path):
    digits = bundled(tmp_path)
    assert (len(digits.training(0)), len(digits.test(0))) == (1437, 360)
    for name, count in digits.counts().items():
        assert digits.test(0).counts()[name] == pytest.approx(count / 5, abs=1)


def test_bundled_digits_look_like_mnist_s(tmp_path):
    images = bundled(tmp_path).images[:, 0]
    assert images.max() == 255
    margin = np.ones((28, 28), bool)
    margin[4:-4, 4:-4] = False
    assert not images[:, margin].any()
    assert images[:, ~margin].reshape(len(images), 20, 20).any(axis=2).mean() > 0.99


def test_bundled_digits_say_what_they_are(tmp_path):
    assert bundled(tmp_path).source == BUNDLED


def test_bundled_digits_are_the_same_bytes_every_time(original, tmp_path):
    write_bundled(tmp_path)
    for name in mnist.DIGESTS:
        content = (tmp_path / name).read_bytes()
        assert content == (original / name).read_bytes()
        assert content[3:8] == bytes(5)  # no name, no time


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source": "mnits"}, "acquire.source: must be 'auto', 'mnist' or 'bundled'"),
        ({"mirrors": []}, "acquire.mirrors: must have at least 1 items"),
        ({"mirrors": ["ftp://here"]}, "acquire.mirrors.0: string should match pattern"),
        ({"mirrors": ["http://here/"]}, "acquire.mirrors.0: string should match pattern"),
    ],
)
def test_a_bad_parameter_is_named(change, told):
    with pytest.raises(UserError) as error:
        check({"source": "auto", "mirrors": ["http://here/mnist"]} | change, AcquireParams, "acquire")
    assert str(error.value).startswith(told)
