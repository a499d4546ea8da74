"""200 processes killed at random lines of the swap, the checkpoint, the journal and the delivery; nothing may be lost.

Another number: `python tests/benchmarks/killed.py KILLS [SEED]`.
"""

import sys
import tempfile
import time
from pathlib import Path

from kills import PLACES, kill_and_check


def main(kills: int = 200, seed: int = 0) -> None:
    """Kill an equal share in every place; ends with an AssertionError where anything is lost."""
    for place in PLACES:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            kill_and_check(place, Path(folder), kills // len(PLACES), seed)
        print(f"{place:15} {kills // len(PLACES)} kills, nothing lost, {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
