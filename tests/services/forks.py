"""Child processes of tests: forks of one process that has imported what takes long."""

import multiprocessing

processes = multiprocessing.get_context("forkserver")
# Installed modules alone: of Python 3.11, that process does not look where pytest found the tests' own.
processes.set_forkserver_preload(
    [
        "torch._dynamo",
        "safetensors.torch",
        "mlflow.store.tracking.sqlalchemy_store",
        "components.core.contract",
        "components.core.telemetry.courier",
        "components.core.training",
    ]
)
