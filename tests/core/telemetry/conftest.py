import shutil
from pathlib import Path

import pytest

from components.core.telemetry.tracking import Store


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with MLflow's tables, whose making takes seconds."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    with Store(f"sqlite:///{path}").client() as client:
        client.search_experiments()
    return path


@pytest.fixture
def home(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store and journals of its own."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "GANFLOW_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path / "journals"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    shutil.copyfile(tables, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def journals(home: Path) -> Path:
    return home / "journals"
