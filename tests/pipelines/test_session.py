"""What a run leaves of its failures."""

import pytest

from pipelines.runners import Task
from pipelines.session import _message


def failed(*printed):
    return Task("train-gan", {"label": "a/b"}, "failed", printed=list(printed))


def test_the_log_of_a_failed_task_and_what_is_told_of_it_hold_no_password(tmp_path):
    told = _message(failed("at http://somebody:secret-word@mlflow", "OSError: no http://u:secret-word@mlflow here"))
    log = tmp_path / "home" / "logs" / "train-gan_label=a_b.log"
    assert told == f"OSError: no http://mlflow here (its output: {log}); run again to resume."
    assert log.read_text() == "at http://mlflow\nOSError: no http://mlflow here\n"


def test_a_log_that_finds_no_room_does_not_hide_the_failure(small_disk, monkeypatch):
    monkeypatch.setenv("GANFLOW_HOME", str(small_disk / "home"))
    with (small_disk / "filling").open("wb", buffering=0) as filling:
        try:
            while True:
                filling.write(bytes(4096))
        except OSError:
            pass
    told = _message(failed("OSError: [Errno 28] No space left on device"))
    assert told.startswith("OSError: [Errno 28] No space left on device")
    assert told.endswith("; run again to resume.")


@pytest.mark.parametrize("name", ["errors.UserError", "training.collapse.Collapse", "storage.s3.Changed"])
def test_a_user_error_of_a_task_is_its_whole_sentence(name):
    line = f"components.core.{name}: these cannot be used:"
    assert _message(failed("Traceback", line, "a.png: grey")) == "these cannot be used:\na.png: grey"
