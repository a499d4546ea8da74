"""A TCP proxy that harms what passes from a server to its clients: cuts the connection, or changes bytes."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

_CHUNK = 1 << 16


class Proxy:
    """The harm a proxy does; nothing at first.

    Attributes:
        endpoint: the proxy's address.
        cuts: how many more connections it cuts.
        cut_after: bytes of answers that a connection passes before it is cut.
        swaps: how many more times it puts `new` in place of `old` (of equal length).
        pause: seconds to wait before each chunk.
        passed: bytes of answers so far.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.cuts, self.cut_after = 0, 0
        self.swaps, self.old, self.new = 0, b"", b""
        self.pause, self.passed = 0.0, 0
        self._due, self._act, self._acting = math.inf, None, threading.Lock()

    def cut(self, times: int, after: int) -> None:
        self.cuts, self.cut_after = times, after

    def swap(self, times: int, old: bytes, new: bytes) -> None:
        assert len(old) == len(new)
        self.swaps, self.old, self.new = times, old, new

    def meanwhile(self, after: int, act: Callable[[], object]) -> None:
        """Call `act` once before more than `after` further bytes of answers are passed on, whatever connection's."""
        self._due, self._act = self.passed + after, act

    def harm(self, chunk: bytes, passed: int) -> tuple[bytes, bool]:
        """What becomes of a chunk after `passed` bytes, and whether the connection ends with it."""
        time.sleep(self.pause)
        with self._acting:
            self.passed += len(chunk)
            if self.passed > self._due:
                self._due = math.inf
                self._act()
        if self.swaps and self.old in chunk:
            self.swaps -= 1
            chunk = chunk.replace(self.old, self.new)
        if self.cuts and passed + len(chunk) > self.cut_after:
            self.cuts -= 1
            return chunk[: max(0, self.cut_after - passed)], True
        return chunk, False


@contextlib.contextmanager
def proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the server at `endpoint`."""
    server = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        harmful = Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=_accept, args=(listener, server, harmful), daemon=True).start()
        yield harmful
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, server: tuple[str, int], harmful: Proxy) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        upstream = socket.create_connection(server)
        threading.Thread(target=_pass_on, args=(client, upstream, None), daemon=True).start()
        threading.Thread(target=_pass_on, args=(upstream, client, harmful), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, harmful: Proxy | None) -> None:
    passed, ended = 0, False
    with contextlib.suppress(OSError):
        while not ended and (chunk := source.recv(_CHUNK)):
            if harmful:
                chunk, ended = harmful.harm(chunk, passed)
            target.sendall(chunk)
            passed += len(chunk)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
