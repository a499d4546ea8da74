"""What the tests of every report share."""

import json
import re
from html.parser import HTMLParser

import pytest

VOID = {"meta", "link", "img", "br", "path", "use", "rect", "circle", "line"}


class _Reader(HTMLParser):
    """Collects tags that are closed and not open, and keeps those that are open."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)


@pytest.fixture(scope="session")
def assert_sound():
    """Assert of a page that it is well formed, asks for nothing outside itself, and describes its pictures."""

    def check(page):
        reader = _Reader()
        reader.feed(page)
        assert reader.wrong + reader.open == []
        identifiers = re.findall(r'\bid="([^"]+)"', page)
        assert len(set(identifiers)) == len(identifiers)
        assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", page))
        text = re.sub(r"base64,[^\"]*", "base64,", page)
        assert not re.search(r"https?://|//[a-z]|@import|<script", text)
        assert {each.split(":")[0] for each in re.findall(r'(?:src|href)="([^"#][^"]*)"', page)} == {"data"}

    return check


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Checkpoints and journals of steps that run once for a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("GANFLOW_HOME", str(home))
        patch.setenv("GANFLOW_JOURNALS", str(home / "journals"))
        yield home


@pytest.fixture
def page(root):
    """The report that a module's `root` holds in `out`."""
    return (root / "out" / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def metrics(root):
    """The metrics.json beside it."""
    return json.loads((root / "out" / "metrics.json").read_text())
