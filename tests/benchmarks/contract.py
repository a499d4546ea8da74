"""What the contract costs a step that does nothing, here and in another checkout, in turns.

python tests/benchmarks/contract.py OTHER-CHECKOUT
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEP = """
import os, sys, time
from pathlib import Path
from components.core.contract import Run, Section, step

class Params(Section):
    text: str

@step
def nothing(params: Params, run: Run, *, source: list[Path]) -> None:
    (run.out / "text").write_text(params.text)

times = []
for number in range(int(sys.argv[2])):
    begin = time.perf_counter()
    nothing(Params(text=str(number)), source=sorted(Path(sys.argv[1]).iterdir()), out="out")
    times.append(time.perf_counter() - begin)
print(times[0], sorted(times)[len(times) // 2])
"""

CASES = {"3 inputs of 100 kB": (3, 100_000), "2000 files of 20 kB": (2000, 20_000), "one of 300 MB": (1, 300_000_000)}


def main() -> None:
    """Print the median of the first and of later calls in a process, each case, each checkout."""
    checkouts = {"here": Path(__file__).parents[2], "there": Path(sys.argv[1])}
    for case, (count, size) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder, "inputs", "folder")
            inputs.mkdir(parents=True)
            for number in range(count):
                (inputs / str(number)).write_bytes(os.urandom(size))
                os.utime(inputs / str(number), (0, 0))
            times: dict[str, list[list[float]]] = {name: [] for name in checkouts}
            for _ in range(9):
                for name, checkout in checkouts.items():
                    times[name].append(_time(checkout, Path(folder), name))
        for name, pairs in times.items():
            first, later = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{case:20} {name:6} first {first:7.1f} ms   later {later:7.1f} ms")


def _time(checkout: Path, folder: Path, name: str) -> list[float]:
    here = folder / name
    here.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", STEP, folder / "inputs", "5"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(checkout), "GANFLOW_HOME": str(here), "GANFLOW_JOURNALS": str(here / "j")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in done.stdout.split()]


if __name__ == "__main__":
    main()
