"""Ports of this machine that a test's server may take."""

import socket


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]
