"""32 tasks, each in a pod of its own, log to a real MLflow server, which goes away for a minute: what gets there?"""

import os
import tempfile
import time
from pathlib import Path

from crowd import Crowd
from crowd_task import points
from mlflow_server import mlflow_server
from s3 import temporary_s3_server

TASKS, OUTAGE_SECONDS = 32, 60.0


def main() -> None:
    """Print how many tasks failed, what is missing, and how long it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mlflow").mkdir()
        with temporary_s3_server(folder / "s3") as s3, mlflow_server(folder / "mlflow", s3) as server:
            os.environ |= server.environment()
            crowd, begin = Crowd(folder, TASKS, pods=TASKS), time.monotonic()
            codes = crowd.run_through_outage(server, OUTAGE_SECONDS)
            seconds, runs = time.monotonic() - begin, crowd.runs(server)
            whole = [crowd.losses(server, run) == points(int(run.data.params["number"])) for run in runs]
    print(f"{TASKS} tasks, server away for {OUTAGE_SECONDS:.0f} s: all over after {seconds:.0f} s")
    print(f"tasks failed: {sum(map(bool, codes))}; runs finished: {sum(run.info.status == 'FINISHED' for run in runs)}")
    print(f"runs with every point once: {sum(whole)}")


if __name__ == "__main__":
    main()
