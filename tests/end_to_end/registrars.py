"""Processes that register models at the same time, without the seconds that saving each model takes."""

import os
import random
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from forks import processes

from components.core.telemetry import Journal
from components.core.telemetry.courier import Courier


def register_at_once(journals: Path, values: list[list[float]], name: Callable[[int], str]) -> None:
    """Have a process for every list of values register a model of each value, in rounds that begin together.

    Args:
        journals: the folder of the processes' journals.
        values: of the metric, by process and round.
        name: of the registered model of a round.
    """
    barrier = processes.Barrier(len(values))
    names = [name(number) for number in range(len(values[0]))]
    registrars = [
        processes.Process(target=_register, args=(dict(os.environ), journals, barrier, number, own, names))
        for number, own in enumerate(values)
    ]
    with Courier(journals):
        for process in registrars:
            process.start()
        for process in registrars:
            process.join()
    assert [process.exitcode for process in registrars] == [0] * len(registrars)


def _register(
    environment: dict[str, str], journals: Path, barrier: Barrier, number: int, values: list[float], names: list[str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.environ["GANFLOW_JOURNALS"] = str(journals)
    import torch
    from mlflow.models import Model

    from components.core.telemetry.tracking import register_model

    Model.log = lambda *_, **__: None  # what the registry is told of it is all that they race for
    torch.set_num_threads(1)
    torch.manual_seed(number)
    with Journal.open("register", {}, {"number": number}, f"{number:064x}", {}) as journal:
        journal.run_id()
        for name, value in zip(names, values, strict=True):
            barrier.wait(timeout=120)
            time.sleep(random.random() / 10)
            network = torch.nn.Linear(3, 2)
            register_model(journal, name, network, torch.zeros(1, 3), metric="accuracy", value=value, tags={})
