import pytest


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Checkpoints and journals of a test's steps stay in its own folder; nobody delivers the journals."""
    monkeypatch.setenv("GANFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path / "journals"))
