"""A real PostgreSQL server for tests; nobody needs to be root, and who is root becomes nobody."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

USER = "ganflow"

_DEBIAN = Path("/usr/lib/postgresql")
"""Debian's package `postgresql` puts the server's programs below this folder, not on the PATH."""


@dataclass(frozen=True)
class Postgres:
    """A running server on 127.0.0.1, which trusts whoever can reach it."""

    port: int

    def create(self, database: str) -> str:
        """Create a database; its address for SQLAlchemy."""
        address = ["--host=127.0.0.1", f"--port={self.port}", f"--username={USER}"]
        subprocess.run([_program("createdb"), *address, database], check=True)
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/{database}"


def is_installed() -> bool:
    """Whether `postgres_server` has something to start."""
    return _program("initdb") is not None


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server with no database yet, whose data goes when it ends."""
    # PostgreSQL refuses to be root, and no other user may look into pytest's folders.
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    somebody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if nobody else {}
    with tempfile.TemporaryDirectory(prefix="ganflow-postgres-") as name:
        folder = Path(name)
        if nobody:
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        data, port = folder / "data", free_port()

        def call(program: str, *words: str) -> None:
            command = [_program(program), f"--pgdata={data}", *words]
            # The server inherits no pipe, or reading it would wait for the server's end.
            with tempfile.TemporaryFile() as printed:
                done = subprocess.run(command, cwd=folder, stdout=printed, stderr=printed, **somebody)
                printed.seek(0)
                assert done.returncode == 0, printed.read().decode()

        call("initdb", f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = " ".join(f"-c {key}='{value}'" for key, value in settings.items())
        call("pg_ctl", "start", "--wait", f"--log={folder / 'server.log'}", f"--options={options}")
        try:
            yield Postgres(port)
        finally:
            call("pg_ctl", "stop", "--mode=immediate")


def _program(name: str) -> str | None:
    installed = sorted(_DEBIAN.glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, installed), os.environ["PATH"]]))
