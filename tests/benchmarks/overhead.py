"""Wall time a step costs beside its work: the smoke profile, whose steps do next to nothing, on an empty cache."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run the cardiac pipeline twice and print the seconds a step: computed, then from the cache."""
    ganflow = Path(sys.executable).with_name("ganflow")
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GANFLOW_HOME": f"{folder}/home"}
        for name in ("computed", "cached"):
            begin = time.perf_counter()
            subprocess.run(
                [ganflow, "run", "cardiac", "--profile", "smoke"],
                cwd=folder,
                env=environment,
                check=True,
                capture_output=True,
            )
            seconds = time.perf_counter() - begin
            steps = len(json.loads(Path(folder, "out/cardiac/steps.json").read_text()))
            print(f"{name:8} {steps} steps  {seconds:6.1f} s  {seconds / steps:5.2f} s a step")
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run([ganflow, "--help"], check=True, capture_output=True)
            times.append(time.perf_counter() - begin)
        print(f"ganflow --help  {sorted(times)[2]:.2f} s (median of 5)")


if __name__ == "__main__":
    main()
