"""A courier in a process of its own: `python -m components.core.telemetry JOURNALS`."""

import logging
import sys
from pathlib import Path

from components.core.telemetry.courier import Courier
from components.core.telemetry.environment import shown


class _Shown(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def main() -> None:
    """Deliver until standard input closes: the step that started this process has ended, or was killed."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Shown("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    with Courier(Path(sys.argv[1])):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
