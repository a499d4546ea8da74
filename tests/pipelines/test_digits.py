import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from components.core.errors import UserError
from pipelines.digits import settle, summary
from pipelines.pipeline import find

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def mirror():
    """Address of a server that answers, and has nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settled(source, mirror):
    params = find("digits").load("smoke", [f"digits.acquire.source={source}", f"digits.acquire.mirrors=[{mirror}]"])
    return settle(params).acquire.source


def test_where_no_network_answers_the_bundled_digits_are_taken():
    assert settled("auto", NOBODY) == "bundled"


def test_where_a_mirror_answers_mnist_is_wanted(mirror):
    assert settled("auto", mirror) == "mnist"


@pytest.mark.parametrize("source", ["mnist", "bundled"])
def test_what_is_asked_for_is_taken(source):
    assert settled(source, NOBODY) == source


def test_the_experiments_are_all_digits_then_one():
    with pytest.raises(UserError, match=r"digits\.experiments\.1"):
        find("digits").load("smoke", ["digits.experiments=[all, all]"])


def test_the_summary_names_the_data_and_shows_scores_beside_their_ceiling():
    score = {"complex": {"mean": 7.0, "std": 0.1}, "simple": {"mean": 6.5, "std": 0.2}}
    console = Console(file=io.StringIO(), width=100)
    metrics = {
        "data": "MNIST",
        "inception_score": {"gan": score, "dcgan": score},
        "ceiling": {"complex": 9.7, "simple": 7.7},
    }
    console.print(summary(metrics))
    text = console.file.getvalue()
    assert "Inception Score on MNIST" in text
    assert "7.00 ± 0.10" in text and "9.70" in text
